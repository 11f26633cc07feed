"""Training loops: one that makes quantum calls between its steps, and one that does not.

A call's latency counts from the step boundary it was scheduled for.
"""

from __future__ import annotations

from shotclock.domain.iteration import CallCounts, FinishedCall, Iteration
from shotclock.domain.memory import NO_LIMIT, MemoryLimit
from shotclock.domain.ports import Caller, CircuitWorkload, Clock, Workload
from shotclock.domain.recorders import StageRecorder
from shotclock.training.aggregator import Aggregator
from shotclock.training.calls import UNCOUNTED, CallPolicy, Calls
from shotclock.training.mode import Mode, ModeSwitch, choose_mode

__all__ = ["CallPolicy", "PlainTrainer", "Scheduler", "choose_mode"]


class PlainTrainer:
    """A Trainer that makes no calls: the baseline."""

    def __init__(self, workload: Workload | CircuitWorkload, clock: Clock) -> None:
        self._workload = workload
        self._clock = clock
        self.finished: list[FinishedCall] = []
        self.counts = CallCounts()

    def iterate(self, step: int) -> Iteration:
        """See `Trainer.iterate`."""
        boundary = self._clock.now_ns()
        loss = self._workload.step()
        return Iteration(step, boundary, self._clock.now_ns() - boundary, loss)

    def flush(self) -> None:
        """Nothing is in flight."""


class Scheduler:
    """A Trainer that makes calls; `finished` holds them in the order in which they ended."""

    def __init__(
        self,
        workload: Workload,
        aggregator: Aggregator,
        *,
        caller: Caller,
        clock: Clock,
        policy: CallPolicy,
        recorder: StageRecorder = UNCOUNTED,
        memory: MemoryLimit = NO_LIMIT,
    ) -> None:
        self._workload = workload
        self._aggregator = aggregator
        self._clock = clock
        self.finished: list[FinishedCall] = []
        self._calls = Calls(
            aggregator,
            caller=caller,
            clock=clock,
            policy=policy,
            ended=self.finished.append,
            recorder=recorder,
            memory=memory,
        )

    @property
    def mode(self) -> Mode:
        """How calls meet training now: the mode that was set, or the one "auto" chose."""
        return self._calls.chooser.mode

    @property
    def mode_changes(self) -> list[ModeSwitch]:
        """The changes made by "auto", in order."""
        return self._calls.chooser.changes

    @property
    def counts(self) -> CallCounts:
        """How many calls fell due, how many were made, and why the others were not."""
        return self._calls.counts

    def iterate(self, step: int) -> Iteration:
        """Completes and makes the calls of the boundary, then makes one optimizer step."""
        boundary = self._clock.now_ns()
        self._calls.run_boundary(step, boundary)
        loss = self._aggregator.run_step(self._workload.step)
        return Iteration(step, boundary, self._clock.now_ns() - boundary, loss)

    def flush(self) -> None:
        """Waits for the calls in flight and applies their answers."""
        self._calls.flush()
