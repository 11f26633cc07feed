"""Calls that a workload makes through a primitive, in its forward and its backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from shotclock.domain.circuit_batch import CircuitBatch
from shotclock.domain.iteration import CallCounts, CircuitCall, FinishedCall, Iteration
from shotclock.domain.outcome import CircuitOutcome
from shotclock.domain.ports import CircuitCaller, CircuitWorkload, Clock, PendingBatch


@dataclass(slots=True)
class CountedCircuits:
    """A CircuitCaller that keeps each call with its times; only what is made within a step is kept.

    caller: takes the calls.
    clock: times them.
    budget_ns: the arm's, in the place of the budget that the workload names, nanoseconds.
    calls: those that have ended, in order.
    """

    caller: CircuitCaller
    clock: Clock
    budget_ns: int
    calls: list[CircuitCall] = field(default_factory=list)
    _step: int | None = None

    def begin_step(self, step: int) -> None:
        """Calls from now on are of this step."""
        self._step = step

    def end_step(self) -> None:
        """Calls from now on are of no step: an evaluation's."""
        self._step = None

    def submit(self, batch: CircuitBatch) -> PendingBatch:
        """See `CircuitCaller.submit`."""
        asked_ns = self.clock.now_ns()
        pending = self.caller.submit(replace(batch, budget_ns=self.budget_ns))
        if self._step is None:
            return pending
        blocked_ns = self.clock.now_ns() - asked_ns
        return _CountedBatch(self, pending, self._step, batch, name_phase(), asked_ns, blocked_ns)


@dataclass(slots=True)
class _CountedBatch:
    """A batch in progress, recorded when its outcomes are first asked for.

    circuits: records it.
    pending: the batch.
    step: the number of its step.
    batch: what was asked.
    phase: see `CircuitCall`.
    asked_ns: when it was asked, nanoseconds.
    blocked_ns: how long that took, nanoseconds.
    """

    circuits: CountedCircuits
    pending: PendingBatch
    step: int
    batch: CircuitBatch
    phase: str
    asked_ns: int
    blocked_ns: int
    _outcomes: Sequence[CircuitOutcome] | None = None

    def done(self) -> bool:
        return self.pending.done()

    def result(self) -> tuple[CircuitOutcome, ...]:
        began_ns = self.circuits.clock.now_ns()
        outcomes = self.pending.result()
        if self._outcomes is None:
            self._outcomes = outcomes
            received_ns = self.circuits.clock.now_ns()
            self.circuits.calls.append(
                CircuitCall(
                    self.step,
                    self.batch.request_id,
                    self.phase,
                    self.asked_ns,
                    received_ns,
                    self.blocked_ns + received_ns - began_ns,
                    self.circuits.budget_ns,
                    outcomes,
                )
            )
        return outcomes

    def cancel(self) -> bool:
        return self.pending.cancel()


def name_phase() -> str:
    """Whether autograd runs a backward pass in this thread."""
    return "backward" if torch._C._current_graph_task_id() >= 0 else "forward"


class CircuitTrainer:
    """A Trainer whose workload makes its calls by itself; `circuit_calls` holds those of its steps."""

    def __init__(self, workload: CircuitWorkload, circuits: CountedCircuits) -> None:
        self._workload = workload
        self._circuits = circuits
        self.finished: list[FinishedCall] = []
        self.counts = CallCounts()

    @property
    def circuit_calls(self) -> list[CircuitCall]:
        """The calls that have ended, in order."""
        return self._circuits.calls

    def iterate(self, step: int) -> Iteration:
        """See `Trainer.iterate`."""
        clock = self._circuits.clock
        boundary = clock.now_ns()
        self._circuits.begin_step(step)
        try:
            loss = self._workload.step()
        finally:
            self._circuits.end_step()
        return Iteration(step, boundary, clock.now_ns() - boundary, loss)

    def flush(self) -> None:
        """The workload waits for its calls by itself."""
