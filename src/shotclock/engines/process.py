"""A task in a new interpreter on this host, while the caller reports that it lives.

It is neither forked nor run in the caller's process: Ray's and Shotclock's gRPC have a process each, and
torch, numba and the workers of an emulation start with no thread of the scheduler's.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from shotclock.domain import files
from shotclock.domain.engine import TaskFailedError, TaskKilledError

TASK, RESULT = "task.json", "result.json"
MOST_RESULT_BYTES = 512 * files.MIB
_LAST_BYTES = 4_000


def run_module(
    module: str, document: str, host: str, report_life: Callable[[], None], every_s: float
) -> bytes:
    """The result of a task; see `Task.module`. report_life: is called every `every_s` seconds while it runs.

    The process ends when its stdin is closed, so it does not outlive the caller. Raises TaskFailedError,
    TaskKilledError.
    """
    with tempfile.TemporaryDirectory(prefix="shotclock-task-") as name:
        folder = Path(name)
        files.write_text(folder / TASK, document)
        with files.create(folder / "stderr") as errors:
            command = [sys.executable, "-P", "-m", module, name, host]
            process = subprocess.Popen(  # noqa: S603 - our own module
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors
            )
            try:
                code = _wait(process, report_life, every_s)
            finally:
                process.kill()
                process.communicate()
        if code < 0:
            raise TaskKilledError(f"its process was ended by signal {-code}")
        if code:
            raise TaskFailedError(_read_last_line(folder / "stderr") or f"exit code {code}")
        return files.read_bytes(folder / RESULT, MOST_RESULT_BYTES)


def _wait(process: subprocess.Popen[bytes], report_life: Callable[[], None], every_s: float) -> int:
    while True:
        report_life()
        try:
            return process.wait(every_s)
        except subprocess.TimeoutExpired:
            continue


def _read_last_line(path: Path) -> str:
    text = path.read_bytes()[-_LAST_BYTES:].decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
