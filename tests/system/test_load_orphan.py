"""A load whose parent is killed: its generator's process ends too, and asks nobody any more."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ITSELF = "import typer; from shotclock.cli.load import load; typer.run(load)"
LONG_S = 60


def children(pid: int) -> set[int]:
    return {int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_a_killed_load_leaves_no_generator_behind() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ITSELF, "--rate", "20", "--duration", str(LONG_S), "--n", "6"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        while "loading" not in (line := process.stderr.readline()):
            assert line, "ended before it began"
        pids = children(process.pid)
        assert pids
        process.kill()
        while still := [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]:
            time.sleep(0.1)  # one that stayed stays until its run is over, and then says BrokenPipeError
        assert not still
    finally:
        process.kill()
        stderr = process.stderr.read()
        process.wait()
    assert "Traceback" not in stderr
