"""Every benchmark starts in the base install, or says in one line which extra it needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from base_environment import ROOT, run

SCRIPTS = sorted(path.name for path in (ROOT / "benchmarks").glob("[!_]*.py"))


@pytest.mark.parametrize("script", [name for name in SCRIPTS if name != "write_page.py"])
def test_a_benchmark_tells_its_options(script: str, tmp_path: Path) -> None:
    ended = run("python", str(ROOT / "benchmarks" / script), "--help", folder=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "usage:" in ended.stdout


def test_a_missing_package_is_one_line_that_names_its_extra(tmp_path: Path) -> None:
    ended = run("python", str(ROOT / "benchmarks" / "quantum_path.py"), "--quick", "--json", folder=tmp_path)
    assert ended.returncode == 3
    assert ended.stdout == ""
    assert ended.stderr == "error: quantum_path.py needs pennylane: pip install -e '.[benchmarks]'\n"
