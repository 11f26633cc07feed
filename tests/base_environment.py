"""The environment of a user who asked for no extra: `.venv-base`, made by the base install alone."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
BASE = ROOT / ".venv-base"

# Runs one command a line, in one process for all folders: what they import is imported once. Software takes
# the same time on any machine, however busy, so that a page's thresholds hold everywhere. No clock times the
# reference iteration of 15 GFLOP then, so it is made small.
COMMANDS = """
import contextlib, itertools, json, os, sys
from shotclock import cli
from shotclock.app import host
from shotclock.runtime.virtual_loop import VirtualLoop
from shotclock.training.loops import medium
medium.WIDTH = medium.BATCH = 64
host.VirtualLoop = lambda: VirtualLoop(base_ns=itertools.count(0, 1_000).__next__)
for line in sys.stdin:
    folder, *arguments = json.loads(line)
    os.chdir(folder)
    sys.argv, path = ["shotclock", *arguments], list(sys.path)
    code = 0
    with contextlib.redirect_stdout(sys.stderr):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
    sys.path[:] = path
    print(code, flush=True)
"""


@functools.cache
def scripts() -> Path:
    """The folder of its commands; the environment is made where it is missing or older than what it is of."""
    ended = subprocess.run(
        ["make", "--silent", f"PYTHON={sys.executable}", f"{BASE.name}/.installed"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return BASE / "bin"


def python() -> str:
    """Its interpreter."""
    return str(scripts() / "python")


def environment(**variables: str) -> dict[str, str]:
    """The surroundings of its commands: they are found first."""
    return {**os.environ, "PATH": f"{scripts()}:{os.environ['PATH']}", **variables}


def run(*command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command of it, to its end."""
    return subprocess.run(
        [str(scripts() / command[0]), *command[1:]],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@contextmanager
def commands(folder: Path) -> Iterator[Callable[[Path, list[str]], int]]:
    """Runs `shotclock` in a folder with these arguments, command after command; gives the exit code.

    folder: of its stderr, which must show no traceback.
    """
    log = folder / "commands.log"
    with log.open("w", encoding="utf-8") as stderr:
        process = subprocess.Popen(
            [python(), "-c", COMMANDS],
            cwd=folder,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

        def run_one(where: Path, arguments: list[str]) -> int:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{json.dumps([str(where), *arguments])}\n")
            process.stdin.flush()
            code = process.stdout.readline()
            text = log.read_text(encoding="utf-8")
            assert code, text
            assert "Traceback" not in text
            return int(code)

        try:
            yield run_one
        finally:
            process.communicate(timeout=900)
