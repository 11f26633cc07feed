"""A paid provider, "paid_provider:connect": its jobs live in another process, `provider_account.py`."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.domain.ports import Accepted, Clock, Execution, Job
from shotclock.providers.scripted import UNLIMITED, random_samples

PORT = "ACCOUNTANT_PORT"
"""The environment variable with the port of the vendor's process."""
LANES = "ACCOUNTANT_LANES"
"""The environment variable with the vendor's lanes, five without it."""
PREDICTED_S = 0.05


class AccountProvider:
    """Implements Provider over loopback, a connection a request."""

    name = "accountant"

    def __init__(self, port: int, clock: Clock, seed: int, lanes: int) -> None:
        self.limits = replace(UNLIMITED, paid=True, lists_jobs=True, lanes=lanes)
        self._port = port
        self._clock = clock
        self._rng = np.random.default_rng(seed)

    def predict_s(self, job: Job) -> float:
        del job
        return PREDICTED_S

    async def submit(self, job: Job) -> Accepted:
        widths = [circuit.parameters.n for circuit in job.circuits]
        answer = await self._ask(
            FaultKind.AMBIGUOUS, verb="submit", tag=job.tag, widths=widths, shots=job.shots
        )
        return Accepted(answer["job_id"])

    async def collect(self, accepted: Accepted) -> Execution:
        began_ns = self._clock.now_ns()
        answer = await self._ask(FaultKind.TRANSIENT, verb="collect", job_id=accepted.job_id)
        samples = tuple(random_samples(n, answer["shots"], self._rng) for n in answer["widths"])
        now_ns = self._clock.now_ns()
        return Execution(samples, began_ns, now_ns, now_ns)

    async def cancel(self, accepted: Accepted) -> None:
        await self._ask(FaultKind.TRANSIENT, verb="cancel", job_id=accepted.job_id)

    async def find(self, tag: str) -> tuple[Accepted, ...]:
        answer = await self._ask(FaultKind.TRANSIENT, verb="find", tag=tag)
        return tuple(Accepted(job_id) for job_id in answer["jobs"])

    async def ping(self) -> None:
        await self._ask(FaultKind.TRANSIENT, verb="ping")

    async def close(self) -> None:
        """Nothing is held between requests."""

    async def _ask(self, unanswered: FaultKind, **request: Any) -> dict[str, Any]:
        """The answer; `unanswered`: what it means when the request was sent and none came."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError as error:
            raise ProviderError(FaultKind.TRANSIENT, f"the vendor cannot be reached: {error}") from error
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            line = await reader.readline()
        except OSError as error:
            raise ProviderError(unanswered, f"the line went dead: {error}") from error
        finally:
            writer.close()
        if not line:
            raise ProviderError(unanswered, f"no answer to {request['verb']}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ProviderError(FaultKind(answer["error"]), answer["message"])
        return answer


def connect(clock: Clock, seed: int) -> AccountProvider:
    """The provider factory for settings."""
    return AccountProvider(int(os.environ[PORT]), clock, seed, int(os.environ.get(LANES, "5")))


@dataclass(frozen=True)
class ProviderAccount:
    """The vendor's process: where it listens, and its account."""

    port: int
    file: Path

    def list_paid(self) -> list[tuple[str, str]]:
        """(tag, job id) of every job that was ever paid for, in order."""
        return [(entry["tag"], entry["job_id"]) for entry in self._read()]

    def most_at_once(self) -> int:
        """The most jobs that were ever paid for and had not ended."""
        return max((entry["at_once"] for entry in self._read()), default=0)

    def _read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]


@contextmanager
def vendor(folder: Path, seed: int = 0, **words: float) -> Iterator[ProviderAccount]:
    """Runs the vendor; the words are the options of `accounts.Vendor`."""
    file = folder / "account.jsonl"
    options = [f"--{name.replace('_', '-')}={value}" for name, value in {"seed": seed, **words}.items()]
    command = [sys.executable, str(Path(__file__).with_name("provider_account.py")), str(file), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield ProviderAccount(int(process.stdout.readline()), file)
        finally:
            process.kill()
