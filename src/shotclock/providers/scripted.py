"""A provider that follows a script, for tests and for users who test their error handling."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from shotclock.domain.circuit import Samples
from shotclock.domain.errors import ProviderError
from shotclock.domain.ports import Accepted, Clock, Execution, Job, ProviderLimits
from shotclock.providers.jobs import TaskJobs, check_limits


@dataclass(frozen=True, slots=True)
class Reply:
    """Returns samples after a delay, seconds: the given ones, one per PUB, or uniformly random bits."""

    delay_s: float = 0.0
    samples: tuple[Samples, ...] | None = None


@dataclass(frozen=True, slots=True)
class Fail:
    """Raises an error at the submit, or after a delay in seconds at the collect."""

    error: ProviderError
    on: Literal["submit", "collect"] = "submit"
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Never:
    """Accepts the job and never answers."""


Step = Reply | Fail | Never

UNLIMITED = ProviderLimits(
    lanes=5,
    max_shots=100_000,
    max_qubits=256,
    submissions_per_minute=None,
    paid=False,
    emulated=True,
    max_pubs=300,
)


class ScriptedProvider:
    """Implements Provider: one step of the script per submit, in order, then `afterwards` for ever.

    submits, collects, cancels, pings: how often each method was called.
    jobs: the jobs submitted, including refused ones.
    ping_error: what `ping` raises, None at the start.
    """

    name = "scripted"

    def __init__(
        self,
        clock: Clock,
        script: Iterable[Step] = (),
        *,
        afterwards: Step = Reply(),
        limits: ProviderLimits = UNLIMITED,
        predicted_s: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.limits = limits
        self.submits = 0
        self.collects = 0
        self.cancels = 0
        self.pings = 0
        self.ping_error: ProviderError | None = None
        self.jobs: list[Job] = []
        self._clock = clock
        self._script = deque(script)
        self._afterwards = afterwards
        self._predicted_s = predicted_s
        self._seed = seed
        self._numbers = itertools.count()
        self._running = TaskJobs()

    def predict_s(self, job: Job) -> float:
        """The predicted_s it was created with, seconds."""
        del job
        return self._predicted_s

    async def submit(self, job: Job) -> Accepted:
        """Follows the next step of the script."""
        self.submits += 1
        self.jobs.append(job)
        check_limits(job, self.limits)
        step = self._script.popleft() if self._script else self._afterwards
        if isinstance(step, Fail) and step.on == "submit":
            raise step.error
        number = next(self._numbers)
        job_id = f"scripted-{number}"
        if isinstance(step, Reply) and not step.delay_s:
            return self._running.add_finished(
                job_id, job.tag, self._execute(job, step, number, self._clock.now_ns())
            )
        return self._running.start(job_id, job.tag, self._run(job, step, number))

    async def collect(self, accepted: Accepted) -> Execution:
        """Waits for the result of the job's step."""
        self.collects += 1
        return await self._running.collect(accepted)

    async def cancel(self, accepted: Accepted) -> None:
        """Ends the job."""
        self.cancels += 1
        await self._running.cancel(accepted)

    async def find(self, tag: str) -> tuple[Accepted, ...]:
        """See `Provider.find`."""
        return self._running.find(tag)

    async def ping(self) -> None:
        """Raises `ping_error` if it is set."""
        self.pings += 1
        if self.ping_error is not None:
            raise self.ping_error

    async def close(self) -> None:
        """See `Provider.close`; nothing is open."""

    async def _run(self, job: Job, step: Step, number: int) -> Execution:
        began_ns = self._clock.now_ns()
        match step:
            case Never():
                await asyncio.Event().wait()
                raise AssertionError("an event that nobody sets was set")
            case Fail(error=error, delay_s=delay_s):
                await asyncio.sleep(delay_s)
                raise error
            case Reply(delay_s=delay_s):
                await asyncio.sleep(delay_s)
                return self._execute(job, step, number, began_ns)

    def _execute(self, job: Job, reply: Reply, number: int, began_ns: int) -> Execution:
        samples = reply.samples if reply.samples is not None else self._random(job, number)
        ended_ns = self._clock.now_ns()
        return Execution(samples, began_ns, ended_ns, ended_ns)

    def _random(self, job: Job, number: int) -> tuple[Samples, ...]:
        rng = np.random.default_rng((self._seed, number))
        return tuple(random_samples(circuit.parameters.n, job.shots, rng) for circuit in job.circuits)


def random_samples(n: int, shots: int, rng: np.random.Generator) -> Samples:
    """Uniformly random bit strings of n variables, as from a QPU that has lost all coherence."""
    bits = rng.integers(0, 2, (shots, n), dtype=np.uint8)
    pool, counts = np.unique(bits, axis=0, return_counts=True)
    return Samples(pool, counts.astype(np.int64))
