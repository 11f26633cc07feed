"""Training steps and quantum calls under one budget.

`inline` waits for a call inside its iteration; `overlap` asks, trains on, and offers the answer at the
step boundary after it arrived. One call is in flight at a time: while it is, asking pauses, training
does not. Latency starts at the step boundary the call was scheduled for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shotclock.domain.delta import Proposal
from shotclock.domain.iteration import FinishedCall, Iteration
from shotclock.domain.ports import Caller, Clock, Kernel, Pending, Workload
from shotclock.domain.stages import Stage, StageTiming
from shotclock.training.aggregator import Aggregator


def choose_mode(
    wanted: Literal["inline", "overlap", "auto"], predicted_p95_s: float, budget_ms: float
) -> Literal["inline", "overlap"]:
    """`auto` waits inline only where the call's p95 fits the iteration's budget (the mission's rule)."""
    if wanted != "auto":
        return wanted
    return "inline" if predicted_p95_s * 1e3 <= budget_ms else "overlap"


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """every: steps between calls. budget_ns: each call's deadline."""

    every: int
    mode: Literal["inline", "overlap"]
    budget_ns: int


@dataclass(slots=True, eq=False)
class _InFlight:
    step: int
    boundary_ns: int
    asked_ns: int
    proposed: StageTiming
    proposal: Proposal
    pending: Pending


class PlainTrainer:
    """A Trainer that never calls: the baseline."""

    def __init__(self, workload: Workload, clock: Clock) -> None:
        self._workload = workload
        self._clock = clock
        self.finished: list[FinishedCall] = []

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
        self._kernel = kernel
        self._aggregator = aggregator
        self._caller = caller
        self._clock = clock
        self._policy = policy
        self._flight: _InFlight | None = None
        self.finished: list[FinishedCall] = []

    def iterate(self, step: int) -> Iteration:
        """The call that is due, if any, then one optimizer step."""
        boundary = self._clock.now_ns()
        if self._flight is not None and self._flight.pending.done():
            self._land(self._clock.now_ns())
        if step % self._policy.every == 0 and self._flight is None:
            self._ask(step, boundary)
            if self._policy.mode == "inline":
                self.flush()
        loss = self._workload.step()
        self._aggregator.advance()
        return Iteration(step, boundary, self._clock.now_ns() - boundary, loss)

    def flush(self) -> None:
        """Waits for the call in flight and offers its answer."""
        if self._flight is not None:
            self._land(self._flight.asked_ns)

    def _ask(self, step: int, boundary: int) -> None:
        began = self._clock.now_ns()
        proposal = self._kernel.propose(self._aggregator.version, self._policy.budget_ns)
        asked = self._clock.now_ns()
        proposed = StageTiming(Stage.PROPOSE, began, asked - began)
        pending = self._caller.ask(proposal.subproblem)
        self._flight = _InFlight(step, boundary, self._clock.now_ns(), proposed, proposal, pending)

    def _land(self, waited_since_ns: int) -> None:
        flight = self._flight
        if flight is None:
            raise RuntimeError("no call is in flight")
        self._flight = None
        outcome = flight.pending.result()
        received = self._clock.now_ns()
        applied = self._aggregator.offer(flight.proposal, outcome)
        ended = self._clock.now_ns()
        self.finished.append(
            FinishedCall(
                step=flight.step,
                request_id=flight.proposal.subproblem.request_id,
                boundary_ns=flight.boundary_ns,
                received_ns=received,
                blocked_ns=(flight.asked_ns - flight.boundary_ns) + (ended - waited_since_ns),
                inline=self._policy.mode == "inline",
                deadline_ns=self._policy.budget_ns,
                proposed=flight.proposed,
                applying=StageTiming(Stage.APPLY, received, ended - received),
                outcome=outcome,
                applied=applied,
            )
        )
