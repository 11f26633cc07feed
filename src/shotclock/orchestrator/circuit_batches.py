"""Takes a batch of circuits from admission to one outcome a point: compiled once a circuit, in few jobs."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from shotclock.domain.budget import Deadline
from shotclock.domain.circuit import DeviceCircuit
from shotclock.domain.circuit_batch import CircuitBatch, CircuitPoints, Deliver
from shotclock.domain.errors import CircuitError
from shotclock.domain.outcome import Cause, CircuitOutcome, DeadlinePassed, Rejection
from shotclock.domain.ports import Clock
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.subproblem import Priority
from shotclock.domain.trace import Span, SpanName, Tracer, describe_call, describe_outcome, open_span
from shotclock.domain.trace_context import TraceContext
from shotclock.orchestrator.answers import Answers
from shotclock.orchestrator.call import CallProgress, Ended, Sampled, UserCircuits

T = TypeVar("T")

CALLS_AT_ONCE = 8
"""Calls of one batch in the queue, which a batch must not fill where a job takes one circuit."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive points of a batch that one call runs.

    first: the index of its first point in the batch.
    work: the circuits.
    """

    first: int
    work: UserCircuits

    @property
    def points(self) -> frozenset[int]:
        """The indices of its points."""
        return frozenset(range(self.first, self.first + len(self.work.circuits)))


class CallSteps(Protocol):
    """What the dispatcher does for every call with user circuits."""

    def refuse_circuit(self, request_id: str, caller: str, shots: int) -> Rejection | None:
        """By the data policy and the flags, before anything is compiled."""

    def refuse_call(self, budget_ns: int, priority: Priority, caller: str) -> Rejection | None:
        """By the load and the provider's health."""

    async def bind_points(
        self, circuit: CircuitPoints, deadline: Deadline, batch: CircuitBatch
    ) -> tuple[DeviceCircuit, ...] | Cause:
        """The compiled circuit at its points, or why it is missing. Raises CircuitError."""

    async def run_circuits(
        self,
        work: UserCircuits,
        deadline: Deadline,
        progress: CallProgress,
        batch: CircuitBatch,
    ) -> Ended | DeadlinePassed:
        """Queues a call and waits for its end."""

    def record_call(
        self, outcome: CircuitOutcome, began_ns: int, work: CircuitBatch, trace: TraceContext | None
    ) -> None:
        """Counts the end of a call."""


@dataclass(frozen=True, slots=True)
class BatchRun:
    """One batch on its way.

    steps: of every call with user circuits.
    answers: builds the outcomes.
    clock: times the calls.
    most_pubs: circuits of a job.
    batch: the circuits and their points.
    deliver: called once a point.
    tracer: makes a span of the batch and of each of its calls; None without traces.
    """

    steps: CallSteps
    answers: Answers
    clock: Clock
    most_pubs: int
    batch: CircuitBatch
    deliver: Deliver
    tracer: Tracer | None = None

    async def run(self) -> None:
        """Compiles every circuit, then runs the calls. Raises CircuitError before anything runs."""
        batch = self.batch
        with self._trace(SpanName.EXECUTE_BATCH, batch.trace) as span:
            if span is not None:
                span.describe(circuits=len(batch.circuits), points=batch.points)
            await self._run(span.context if span is not None else batch.trace)

    @contextmanager
    def _trace(self, name: SpanName, parent: TraceContext | None) -> Iterator[Span | None]:
        if self.tracer is None:
            yield None
            return
        with open_span(self.tracer, name, parent) as span:
            describe_call(span, self.batch.request_id, self.batch.caller)
            yield span

    async def _run(self, trace: TraceContext | None) -> None:
        """trace: the span of the batch."""
        batch, arrived = self.batch, self.clock.now_ns()
        deadline = Deadline.after(arrived, batch.budget_ns)
        most_shots = max(circuit.shots for circuit in batch.circuits)
        cause: Cause | None = self.steps.refuse_circuit(
            batch.request_id, batch.caller, most_shots
        ) or self.steps.refuse_call(batch.budget_ns, batch.priority, batch.caller)
        circuits = [] if cause is not None else await self._bind_all(deadline)
        cause = cause or next((each for each in circuits if not isinstance(each, tuple)), None)
        if cause is not None:
            self.end(0, batch.points, cause, CallProgress(), arrived, trace)
            return
        bind = StageTiming(Stage.BIND, arrived, self.clock.now_ns() - arrived)
        compiled = [each for each in circuits if isinstance(each, tuple)]
        shots = [circuit.shots for circuit in batch.circuits]
        chunks = split(compiled, shots, self.most_pubs, batch.request_id)
        turns = asyncio.Semaphore(CALLS_AT_ONCE)
        unanswered = [chunk for chunk in chunks if not chunk.points <= batch.answered]
        await _run_all([self._run_chunk(chunk, deadline, bind, turns, trace) for chunk in unanswered])

    async def _bind_all(self, deadline: Deadline) -> list[tuple[DeviceCircuit, ...] | Cause]:
        async def bind(index: int, circuit: CircuitPoints) -> tuple[DeviceCircuit, ...] | Cause:
            try:
                return await self.steps.bind_points(circuit, deadline, self.batch)
            except CircuitError as error:
                if len(self.batch.circuits) == 1:
                    raise
                raise CircuitError(f"batch[{index}].{error.field}", error.message) from error

        return await _run_all([bind(index, circuit) for index, circuit in enumerate(self.batch.circuits)])

    async def _run_chunk(
        self,
        chunk: Chunk,
        deadline: Deadline,
        bind: StageTiming,
        turns: asyncio.Semaphore,
        trace: TraceContext | None,
    ) -> None:
        async with turns:
            with self._trace(SpanName.EXECUTE, trace) as span:
                outcome = await self._run_call(chunk, deadline, bind, span, trace)
                if span is not None:
                    span.describe(points=len(chunk.work.circuits))
                    describe_outcome(span, outcome)

    async def _run_call(
        self,
        chunk: Chunk,
        deadline: Deadline,
        bind: StageTiming,
        span: Span | None,
        trace: TraceContext | None,
    ) -> CircuitOutcome:
        """Delivers the outcome of every point of the chunk, and returns the first."""
        batch, began = self.batch, self.clock.now_ns()
        trace = span.context if span is not None else trace
        circuits = chunk.work.circuits
        progress = CallProgress(template_key=circuits[0].template.key, span=span)
        progress.record_stage(bind)
        # Compiling can take seconds, in which a drain may begin or the queue may fill.
        remaining_ns = deadline.remaining_ns(began)
        refused = self.steps.refuse_call(remaining_ns, batch.priority, batch.caller)
        ended: Ended | DeadlinePassed = refused or await self.steps.run_circuits(
            chunk.work, deadline, progress, batch
        )
        if not isinstance(ended, Sampled):
            return self.end(chunk.first, len(circuits), ended, progress, began, trace)
        outcomes = self.answers.answer_points(ended, circuits, progress)
        self.steps.record_call(outcomes[0], began, batch, trace)
        for index, outcome in enumerate(outcomes, chunk.first):
            self.deliver(index, outcome)
        return outcomes[0]

    def end(
        self,
        first: int,
        points: int,
        cause: Cause,
        progress: CallProgress,
        began_ns: int,
        trace: TraceContext | None,
    ) -> CircuitOutcome:
        """Ends consecutive points of one call without samples, all with the outcome that it returns."""
        outcome = self.answers.answer_unexecuted(cause, progress)
        self.steps.record_call(outcome, began_ns, self.batch, trace)
        for index in range(first, first + points):
            self.deliver(index, outcome)
        return outcome


def split(
    circuits: Sequence[tuple[DeviceCircuit, ...]], shots: Sequence[int], most_pubs: int, request_id: str
) -> list[Chunk]:
    """The batch's points in its order, cut where the shots change and where a job is full.

    Each chunk has a request id by which another orchestrator finds its job, should this one be lost.
    """
    points = [
        (circuit, number) for at_points, number in zip(circuits, shots, strict=True) for circuit in at_points
    ]
    chunks: list[Chunk] = []
    first = 0
    for number, run in itertools.groupby(points, key=lambda point: point[1]):
        of_run = tuple(circuit for circuit, _ in run)
        for begin in range(0, len(of_run), most_pubs):
            chunk_id = f"{request_id}#{first}" if first else request_id
            work = UserCircuits(of_run[begin : begin + most_pubs], number, chunk_id, shares=True)
            chunks.append(Chunk(first, work))
            first += len(work.circuits)
    return chunks


async def _run_all(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All results; the first exception cancels the rest."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
