"""The shell of docs/sre.md, run as one script on free ports: certificates, a service, parked jobs."""

from __future__ import annotations

from pathlib import Path

from test_docs import NAMED, blocks, run_shell

from base_environment import ROOT
from served import free_port


def test_the_first_five_minutes_of_an_sre_work_as_written(tmp_path: Path) -> None:
    ports = {"7443": str(free_port()), "9464": str(free_port())}
    script = ["trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for language, written in blocks(ROOT / "docs" / "sre.md"):
        text = written
        for usual, free in ports.items():
            text = text.replace(usual, free)
        if named := NAMED.match(text):
            (tmp_path / named[1]).write_text(text, encoding="utf-8")
        elif language == "sh":
            script.append(text)
    ran = run_shell(script, tmp_path, COLUMNS="200")
    assert "is ready: emulated provider (EMULATED)" in ran.stdout
    assert 'shotclock_breaker_state{arm="",state="closed"} 1.0' in ran.stdout
    assert "parked → failed" in ran.stdout
    assert "drained: 0 calls finished, 0 handed back" in ran.stderr
