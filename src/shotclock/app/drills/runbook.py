"""The steps of a runbook: the shell blocks of its page, performed as they are written there."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from shotclock.app.drills.record import StepRecord
from shotclock.ops.export import FILES

BLOCK = re.compile(r"^ *```sh( look)?\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
FIRST_HEADING = "## Steps"
STEP_S = 300.0
"""For one step; only a hang takes so long."""
OUTPUT_CHARACTERS = 2_000
ANSWER = "the drill\n"
"""What a step that asks a person gets to read."""


@dataclass(frozen=True, slots=True)
class Step:
    """A shell block of a page. is_diagnosis: whether it only looks (```sh look), and may fail."""

    command: str
    is_diagnosis: bool


def read_steps(name: str) -> tuple[Step, ...]:
    """The steps of a runbook, in the order of its page."""
    page = (FILES / "runbooks" / f"{name}.md").read_text(encoding="utf-8")
    steps = page[page.index(FIRST_HEADING) :]
    return tuple(Step(dedent(command), bool(look)) for look, command in BLOCK.findall(steps))


async def perform(step: Step, folder: Path, environment: Mapping[str, str]) -> StepRecord:
    """Runs a step in a shell that ends at the first command that fails; kills it where it hangs."""
    began = time.monotonic()
    shell = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        f"set -e\n{step.command}",
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(STEP_S):
            output, _ = await shell.communicate(ANSWER.encode())
    except TimeoutError:
        output = f"no end within {STEP_S:g} s".encode()
    finally:
        if shell.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            await shell.wait()
    return StepRecord(
        step.command,
        step.is_diagnosis,
        shell.returncode or 0,
        time.monotonic() - began,
        output.decode(errors="replace")[-OUTPUT_CHARACTERS:],
    )
