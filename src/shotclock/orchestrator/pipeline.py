"""The quantum part of one call: bind → submit → collect → decode, timed stage by stage."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from shotclock.domain.budget import NS_PER_S, Deadline
from shotclock.domain.circuit import DeviceCircuit, Samples
from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.domain.outcome import Answer, ProviderFault, Rejection
from shotclock.domain.ports import Accepted, Clock, Execution, Job, Provider, Recorder, Synthesizer
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.subproblem import Subproblem
from shotclock.orchestrator.bucket import TokenBucket
from shotclock.orchestrator.latency import ServiceTime
from shotclock.orchestrator.planning import ShotLimits, fit_shots
from shotclock.orchestrator.retry import backoff_ns

RETURN_MARGIN_NS = 5_000_000
"""Kept back when shots are fitted to a budget: decoding, and the answer's way to the caller."""


@dataclass(slots=True)
class Progress:
    """What a call has been through so far; readable at the deadline, however far it got."""

    stages: list[StageTiming] = field(default_factory=list)
    job_id: str = ""
    attempts: int = 0
    template_key: str = ""
    qpu_s: float = 0.0
    emulator_overrun: bool = False
    with_provider_since_ns: int | None = None

    def interrupted(self, now_ns: int, emulated: bool) -> None:
        """Closes the wait for the provider that a deadline cut short; it is booked under `collect`."""
        if self.with_provider_since_ns is not None:
            waited = now_ns - self.with_provider_since_ns
            self.stages.append(
                StageTiming(Stage.COLLECT, self.with_provider_since_ns, waited, waited if emulated else 0)
            )


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """Samples that passed their checks, and the best of them on the original objective."""

    samples: Samples
    answer: Answer
    at_ns: int


@dataclass(frozen=True, slots=True)
class ShotPolicy:
    """How a job is run. shots: as many as the budget allows between the two; equal, they are fixed.

    rep_delay_s None is the device's default; attempts: submits a call.
    """

    shots: ShotLimits
    rep_delay_s: float | None
    attempts: int


Ended = Sampled | ProviderFault | Rejection

Foresight = Callable[[Subproblem, DeviceCircuit, float, int], Awaitable[float]]
"""The gain that so many shots of a circuit promise over an energy already in hand, in units of E."""


async def unforeseen(subproblem: Subproblem, circuit: DeviceCircuit, in_hand: float, shots: int) -> float:
    """No pre-evaluation: anything may be gained."""
    del subproblem, circuit, in_hand, shots
    return math.inf


class Pipeline:
    """Runs calls on one provider; a vendor's fault comes back as a value."""

    def __init__(
        self,
        synthesizer: Synthesizer,
        provider: Provider,
        *,
        clock: Clock,
        policy: ShotPolicy,
        recorder: Recorder,
        rng: random.Random,
        foresight: Foresight = unforeseen,
    ) -> None:
        self._synthesizer = synthesizer
        self.provider = provider
        self._clock = clock
        self._policy = policy
        self._recorder = recorder
        self._rng = rng
        self._foresight = foresight
        self._bucket = TokenBucket(provider.limits.submissions_per_minute)
        self._service_time = ServiceTime()
        self._typical: Job | None = None

    async def warm(self, sample: Subproblem) -> None:
        """Compiles the template for subproblems of this size, off the event loop."""
        await self._synthesizer.warm(sample.n)
        circuit = await self._synthesizer.bind(sample)
        self._typical = self._job(circuit, self._policy.shots.minimum, "prediction")

    def predicted_p95_s(self) -> float:
        """What one job takes here, submit to samples, with nothing ahead of it; seconds."""
        return self._service_time.p95_s(self.provider.predict_s(self.typical_job()))

    def typical_job(self) -> Job:
        """The job that the warming sample would be."""
        if self._typical is None:
            raise RuntimeError("warm the pipeline first")
        return self._typical

    def _job(self, circuit: DeviceCircuit, shots: int, tag: str) -> Job:
        return Job.of((circuit,), shots, tag, self._policy.rep_delay_s)

    async def run(
        self, subproblem: Subproblem, in_hand: float, deadline: Deadline, progress: Progress
    ) -> Ended:
        """The samples, or why there are none; `progress` is filled on the way.

        in_hand: the energy of the best answer there is without a QPU.
        """
        began = self._clock.now_ns()
        try:
            circuit = await self._synthesizer.bind(subproblem)
            progress.template_key = circuit.template.key
            shots = self._shots(circuit, deadline)
            if isinstance(shots, Rejection):
                self._timed(progress, Stage.BIND, began)
                return shots
            gain = await self._foresight(subproblem, circuit, in_hand, shots)
            self._timed(progress, Stage.BIND, began)
            if gain <= 0.0:
                return Rejection("expected_gain", 0.0, gain, "expected gain", 0.0)
            job = self._job(circuit, shots, f"shotclock:{subproblem.request_id}")
            return await self._execute(subproblem, job, deadline, progress)
        except ProviderError as error:
            return ProviderFault(str(error))

    def _shots(self, circuit: DeviceCircuit, deadline: Deadline) -> int | Rejection:
        """How many shots the rest of the budget pays for, or that even the fewest don't fit."""
        limits = self._policy.shots
        if limits.minimum == limits.maximum:
            return limits.minimum
        remaining = deadline.remaining_ns(self._clock.now_ns()) - RETURN_MARGIN_NS
        return fit_shots(
            lambda shots: self.provider.predict_s(self._job(circuit, shots, "prediction")), remaining, limits
        )

    async def _execute(
        self, subproblem: Subproblem, job: Job, deadline: Deadline, progress: Progress
    ) -> Sampled:
        while True:
            progress.attempts += 1
            try:
                await self._take_token(progress)
                execution = await self._submit_and_collect(job, progress)
                return self._decode(subproblem, job, execution, progress)
            except ProviderError as error:
                remaining = deadline.remaining_ns(self._clock.now_ns())
                wait = backoff_ns(error, progress.attempts, self._policy.attempts, remaining, self._rng)
                if wait is None:
                    raise
                self._recorder.retried()
                await asyncio.sleep(wait / NS_PER_S)

    async def _take_token(self, progress: Progress) -> None:
        began = self._clock.now_ns()
        wait = self._bucket.reserve_ns(began)
        if wait:
            await asyncio.sleep(wait / NS_PER_S)
        emulated = wait if self.provider.limits.emulated else 0
        self._timed(progress, Stage.SUBMISSION_BUCKET_WAIT, began, emulated)

    async def _submit_and_collect(self, job: Job, progress: Progress) -> Execution:
        began = self._clock.now_ns()
        progress.with_provider_since_ns = began
        accepted = await self.provider.submit(job)
        progress.job_id = accepted.job_id
        self._timed(progress, Stage.CIRCUIT_SUBMIT_LATENCY, began, accepted.submit_emulated_ns)
        submitted = self._clock.now_ns()
        progress.with_provider_since_ns = submitted
        self._recorder.submitted(submitted - began)
        execution = await self._collect(accepted)
        progress.with_provider_since_ns = None
        self._service_time.observe((self._clock.now_ns() - began) / NS_PER_S)
        progress.stages.extend(_on_the_qpu(submitted, execution))
        progress.qpu_s += execution.qpu_s
        progress.emulator_overrun |= execution.emulator_overrun
        return execution

    async def _collect(self, accepted: Accepted) -> Execution:
        try:
            return await self.provider.collect(accepted)
        except asyncio.CancelledError:
            await self.provider.cancel(accepted)
            raise

    def _decode(self, subproblem: Subproblem, job: Job, execution: Execution, progress: Progress) -> Sampled:
        began = self._clock.now_ns()
        (samples,) = execution.samples
        if samples.shots != job.shots:
            raise ProviderError(
                FaultKind.PERMANENT, f"{samples.shots} shots came back, {job.shots} were asked for"
            )
        answer = self._synthesizer.decode(subproblem, samples)
        self._timed(progress, Stage.POSTPROC_TIME, began)
        return Sampled(samples, answer, self._clock.now_ns())

    def _timed(self, progress: Progress, stage: Stage, began_ns: int, emulated_ns: int = 0) -> None:
        progress.stages.append(StageTiming(stage, began_ns, self._clock.now_ns() - began_ns, emulated_ns))


def _on_the_qpu(submitted_ns: int, execution: Execution) -> list[StageTiming]:
    """Queue, execution and collection end to end from the submit's return.

    A planned instant may lie before a timer that fired late, so each stage starts no earlier than the
    one before it ended, and no stage has waited longer than it lasted.
    """
    timings = []
    start = submitted_ns
    for stage, end, emulated in (
        (Stage.QPU_QUEUE_WAIT, execution.running_at_ns, execution.queue_emulated_ns),
        (Stage.QPU_EXEC_TIME, execution.finished_at_ns, execution.execution_emulated_ns),
        (Stage.COLLECT, execution.collected_at_ns, execution.collect_emulated_ns),
    ):
        duration = max(0, end - start)
        timings.append(StageTiming(stage, start, duration, min(emulated, duration)))
        start += duration
    return timings
