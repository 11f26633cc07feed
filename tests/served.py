"""A real `shotclock serve` process, as tests start, kill, stop and read it."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
START_S = 600.0
"""Only a hang takes so long."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class ServiceProcess:
    """The process; `ready` and `wait_ended` wait for what it says and does."""

    process: Process

    @classmethod
    async def start(
        cls,
        config: Path,
        *arguments: str,
        lean: bool = False,
        environment: dict[str, str] | None = None,
    ) -> ServiceProcess:
        """lean: without Qiskit, and only after `go`."""
        command = [str(TESTS / "no_qiskit.py")] if lean else ["-c", "from shotclock.cli import main; main()"]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            "serve",
            "--json",
            "--config",
            str(config),
            *arguments,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env={**os.environ, "PYTHONPATH": str(TESTS), **(environment or {})},
        )
        return cls(process)

    def go(self) -> None:
        """A lean one begins; a whole one has begun."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")

    async def wait_for_event(self, event: str) -> dict[str, Any]:
        """Waits for the event on stdout; AssertionError with its stderr where it ends before."""
        assert self.process.stdout is not None
        async with asyncio.timeout(START_S):
            while line := await self.process.stdout.readline():
                event_found: dict[str, Any] = json.loads(line)
                if event_found["event"] == event:
                    return event_found
        raise AssertionError(f"{event} was never said: {await self.read_stderr()}")

    async def read_stderr(self) -> str:
        """What it has written to stderr when it is over."""
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    async def wait_ended(self) -> tuple[int, str, str]:
        """Exit code, the rest of stdout, stderr."""
        async with asyncio.timeout(START_S):
            out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, out.decode(), err.decode()

    def files_up_to(self, size: int) -> None:
        """From now on its files cannot grow beyond so many bytes: a disk that is full for it alone."""
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size, size))

    async def kill(self) -> None:
        """SIGKILL."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
