"""Training steps and quantum calls under one budget: a loop that calls, and one that does not.

Latency starts at the step boundary a call was scheduled for.
"""

from __future__ import annotations

from shotclock.domain.iteration import CallCounts, FinishedCall, Iteration
from shotclock.domain.ports import Caller, Clock, Kernel, Workload
from shotclock.training.aggregator import Aggregator
from shotclock.training.calls import CallPolicy, Calls
from shotclock.training.mode import Mode, ModeChange, choose_mode

__all__ = ["CallPolicy", "PlainTrainer", "Scheduler", "choose_mode"]


class PlainTrainer:
    """A Trainer that never calls: the baseline."""

    def __init__(self, workload: Workload, clock: Clock) -> None:
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
    """A Trainer that calls; `finished` holds its calls in the order in which they ended."""

    def __init__(
        self,
        workload: Workload,
        kernel: Kernel,
        aggregator: Aggregator,
        *,
        caller: Caller,
        clock: Clock,
        policy: CallPolicy,
    ) -> None:
        self._workload = workload
        self._aggregator = aggregator
        self._clock = clock
        self.finished: list[FinishedCall] = []
        self._calls = Calls(
            kernel, aggregator, caller=caller, clock=clock, policy=policy, ended=self.finished.append
        )

    @property
    def mode(self) -> Mode:
        """How calls meet training now: what was named, or what "auto" has come to."""
        return self._calls.chooser.mode

    @property
    def mode_changes(self) -> list[ModeChange]:
        """What "auto" changed by measurement, in order."""
        return self._calls.chooser.changes

    @property
    def counts(self) -> CallCounts:
        """How many calls fell due, how many were asked, and why the others were not."""
        return self._calls.counts

    def iterate(self, step: int) -> Iteration:
        """What is due at the boundary, then one optimizer step."""
        boundary = self._clock.now_ns()
        self._calls.boundary(step, boundary)
        loss = self._aggregator.run_step(self._workload.step)
        return Iteration(step, boundary, self._clock.now_ns() - boundary, loss)

    def flush(self) -> None:
        """Waits for what is in flight and offers its answers."""
        self._calls.flush()
