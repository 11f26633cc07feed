"""The examples of the docs, run as a reader would: files written, commands in order, code executed."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from served import free_port
from shotclock import cli
from shotclock.app import host
from shotclock.bench.simulate import VirtualLoop
from shotclock.settings import load

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# (\S+\.(?:py|toml))\n")


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def run_command(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", shlex.split(line, comments=True))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in {0, None}, line


def run_shell(lines: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A page's shell as one script that ends at its first failure, `shotclock` on its path."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-c", "\n".join(["set -euo pipefail", *lines])],
        cwd=folder,
        env={**os.environ, "PATH": path, **variables},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_work(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # software takes the same time on any machine, however busy: a page's thresholds hold everywhere
    monkeypatch.setattr(host, "VirtualLoop", lambda: VirtualLoop(base_ns=itertools.count(0, 1_000).__next__))
    for language, text in blocks(page):
        if named := NAMED.match(text):
            (tmp_path / named[1]).write_text(text, encoding="utf-8")
        elif language == "python":
            subprocess.run([sys.executable, "-c", text], check=True, capture_output=True)
        elif language == "toml":
            (tmp_path / "example.toml").write_text(text, encoding="utf-8")
            load(tmp_path / "example.toml", {})
        elif language == "console":
            for line in text.splitlines():
                if line.startswith("$ shotclock "):
                    run_command(line.removeprefix("$ ").replace(" 9464 ", f" {free_port()} "), monkeypatch)


def test_the_rehearsal_of_the_hardware_run_works_as_written(tmp_path: Path) -> None:
    """Its shell as one script; docs/sre.md has a test of its own."""
    script = [text for language, text in blocks(ROOT / "docs" / "hardware-run.md") if language == "sh"]
    ran = run_shell(script, tmp_path)
    assert "EMULATED: a dry run" in ran.stderr
    assert ran.stdout.endswith("runs/rehearsal: no fault\n")


def test_readmes_two_commands_are_targets_of_the_makefile() -> None:
    wanted = re.findall(r"^\$ make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert wanted == ["bench", "test"]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(wanted) <= set(targets)
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_every_link_between_pages_leads_somewhere() -> None:
    pages = [*PAGES, ROOT / "CONTRIBUTING.md"]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
