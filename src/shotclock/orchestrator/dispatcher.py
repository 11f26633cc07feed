"""From admission to exactly one outcome, by the deadline."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from shotclock.domain.budget import NS_PER_S, Deadline
from shotclock.domain.outcome import (
    Answer,
    Cause,
    DeadlinePassed,
    Degraded,
    Done,
    Failed,
    Late,
    Outcome,
    Provenance,
    ProviderFault,
    Rejection,
    Shed,
)
from shotclock.domain.ports import Clock, Recorder, Solver
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.subproblem import Subproblem
from shotclock.orchestrator.admission import Load, admit
from shotclock.orchestrator.pipeline import Ended, Pipeline, Progress, Sampled
from shotclock.orchestrator.race import best, classical, incumbent

REPLY_MARGIN_NS = 2_000_000
"""An answer leaves this long before the deadline, so that it is there at the deadline."""


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """queue_limit: calls that may wait. shedding: refuse what predictably cannot finish.

    race: set a classical answer beside the samples, and fall back to it.
    """

    queue_limit: int
    shedding: bool
    race: bool


@dataclass(slots=True, eq=False)
class _Call:
    subproblem: Subproblem
    deadline: Deadline
    queued_ns: int
    classical: Answer | None
    ended: asyncio.Future[Ended]
    progress: Progress = field(default_factory=Progress)
    task: asyncio.Task[Ended] | None = None


class Orchestrator:
    """A Dispatcher over one provider: bounded earliest-deadline queue, as many workers as lanes."""

    def __init__(
        self, pipeline: Pipeline, solver: Solver, clock: Clock, policy: AdmissionPolicy, recorder: Recorder
    ) -> None:
        self._pipeline = pipeline
        self._provider = pipeline.provider
        self._solver = solver
        self._clock = clock
        self._policy = policy
        self._recorder = recorder
        self._queue: asyncio.PriorityQueue[tuple[int, int, _Call]] = asyncio.PriorityQueue()
        self._workers: list[asyncio.Task[None]] = []
        self._running = 0
        self._arrivals = 0

    async def start(self, sample: Subproblem) -> None:
        """Warms the path for subproblems like the sample, then opens the lanes."""
        classical(sample, self._solver)
        await self._pipeline.warm(sample)
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._provider.limits.lanes)]

    async def stop(self) -> None:
        """Closes the lanes; calls still waiting end at their deadline."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def solve(self, subproblem: Subproblem) -> Outcome:
        """See `Dispatcher.solve`."""
        arrived = self._clock.now_ns()
        fallback = classical(subproblem, self._solver) if self._policy.race else None
        rejection = admit(self._load(), self._policy.queue_limit, subproblem.budget_ns, self._policy.shedding)
        if rejection is not None:
            outcome = self._refused(subproblem, fallback, rejection, Progress())
        else:
            outcome = await self._admitted(subproblem, fallback, arrived)
        self._recorder.finished(outcome)
        return outcome

    def _load(self) -> Load:
        return Load(self._queue.qsize(), self._running, len(self._workers), self._pipeline.predicted_p95_s())

    async def _admitted(self, subproblem: Subproblem, fallback: Answer | None, arrived: int) -> Outcome:
        loop = asyncio.get_running_loop()
        deadline = Deadline.after(arrived, subproblem.budget_ns)
        call = _Call(subproblem, deadline, self._clock.now_ns(), fallback, loop.create_future())
        self._arrivals += 1
        self._queue.put_nowait((deadline.at_ns, self._arrivals, call))
        self._recorder.queued(self._queue.qsize())
        remaining = max(0, deadline.remaining_ns(self._clock.now_ns()) - REPLY_MARGIN_NS)
        try:
            async with asyncio.timeout(remaining / NS_PER_S):
                ended = await call.ended
        except TimeoutError:
            call.progress.interrupted(self._clock.now_ns(), self._provider.limits.emulated)
            return self._without_samples(call, DeadlinePassed(subproblem.budget_ns))
        finally:
            call.ended.cancel()
            if call.task is not None:
                call.task.cancel()
        if isinstance(ended, Rejection):
            return self._refused(subproblem, fallback, ended, call.progress)
        if isinstance(ended, ProviderFault):
            return self._without_samples(call, ended)
        return self._raced(call, ended)

    async def _work(self) -> None:
        while True:
            _, _, call = await self._queue.get()
            self._recorder.queued(self._queue.qsize())
            if call.ended.done():
                continue
            waited = self._clock.now_ns() - call.queued_ns
            call.progress.stages.append(StageTiming(Stage.ADMISSION_WAIT, call.queued_ns, waited))
            self._running += 1
            call.task = asyncio.create_task(
                self._pipeline.run(
                    call.subproblem, _in_hand(call.subproblem, call.classical), call.deadline, call.progress
                )
            )
            try:
                await asyncio.wait({call.task})
            except asyncio.CancelledError:
                call.task.cancel()
                raise
            finally:
                self._running -= 1
            _hand_over(call.task, call.ended)

    def _raced(self, call: _Call, sampled: Sampled) -> Done:
        began = self._clock.now_ns()
        nothing = incumbent(call.subproblem)
        candidates = (nothing, *((call.classical,) if call.classical else ()), sampled.answer)
        answer = best(call.subproblem, candidates)
        raced = self._clock.now_ns() - began
        decoded = call.progress.stages.pop()
        call.progress.stages.append(
            StageTiming(Stage.POSTPROC_TIME, decoded.start_ns, decoded.duration_ns + raced)
        )
        provenance = self._provenance(
            call.subproblem, call.progress, call.classical, nothing.energy - sampled.answer.energy, sampled
        )
        return Done(answer, sampled.samples, call.classical, provenance)

    def _refused(
        self, subproblem: Subproblem, fallback: Answer | None, rejection: Rejection, progress: Progress
    ) -> Outcome:
        provenance = self._provenance(subproblem, progress, fallback)
        if fallback is None:
            return Shed(rejection, provenance)
        return _degraded(subproblem, fallback, rejection, provenance)

    def _without_samples(self, call: _Call, cause: DeadlinePassed | ProviderFault) -> Outcome:
        provenance = self._provenance(call.subproblem, call.progress, call.classical)
        if call.classical is not None:
            return _degraded(call.subproblem, call.classical, cause, provenance)
        if isinstance(cause, DeadlinePassed):
            return Late(cause, provenance)
        return Failed(cause, provenance)

    def _provenance(
        self,
        subproblem: Subproblem,
        progress: Progress,
        fallback: Answer | None,
        raw_gain: float = 0.0,
        sampled: Sampled | None = None,
    ) -> Provenance:
        return Provenance(
            provider=self._provider.name,
            emulated=self._provider.limits.emulated,
            base_version=subproblem.base_version,
            stages=tuple(progress.stages),
            job_id=progress.job_id,
            attempts=progress.attempts,
            template_key=progress.template_key,
            shots=sampled.samples.shots if sampled else 0,
            qpu_s=progress.qpu_s,
            raw_gain=raw_gain,
            classical_gain=subproblem.offset - fallback.energy if fallback else 0.0,
            samples_at_ns=sampled.at_ns if sampled else 0,
            emulator_overrun=progress.emulator_overrun,
        )


def _in_hand(subproblem: Subproblem, fallback: Answer | None) -> float:
    """The best energy without a QPU: of changing nothing, or of the classical answer."""
    return min(subproblem.offset, fallback.energy) if fallback else subproblem.offset


def _degraded(subproblem: Subproblem, fallback: Answer, cause: Cause, provenance: Provenance) -> Degraded:
    return Degraded(best(subproblem, (incumbent(subproblem), fallback)), cause, provenance)


def _hand_over(task: asyncio.Task[Ended], ended: asyncio.Future[Ended]) -> None:
    """Moves a finished task's end into the future the caller waits on, if it still waits."""
    if ended.done():
        return
    if task.cancelled():
        ended.cancel()
    elif (error := task.exception()) is not None:
        ended.set_exception(error)
    else:
        ended.set_result(task.result())
