"""What a training loop reports: its iterations, and its calls when they have ended."""

from __future__ import annotations

from dataclasses import dataclass

from shotclock.domain.host_figures import NOT_READ, AroundCall
from shotclock.domain.outcome import CircuitOutcome, Decision, Outcome, Winner
from shotclock.domain.stages import StageTiming
from shotclock.domain.subproblem import Subproblem


@dataclass(frozen=True, slots=True)
class Iteration:
    """One training iteration: from its boundary to the end of its optimizer step.

    step: number of the step.
    boundary_ns: when it began, on the monotonic clock, nanoseconds.
    duration_ns: its length, the part of a call that training waits for included, nanoseconds.
    batch_loss: loss on the step's batch, before the optimizer step.
    """

    step: int
    boundary_ns: int
    duration_ns: int
    batch_loss: float


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of an answer.

    decision: the aggregator's.
    winner: whose bits were chosen.
    version: the model's after the decision.
    stale: the answer was computed on an older model than the one it met.
    """

    decision: Decision
    winner: Winner
    version: int
    stale: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class FinishedCall:
    """A call from the step boundary it was scheduled for to its end.

    step: number of the step it was scheduled for.
    request_id: the request's name.
    subproblem: what was asked.
    boundary_ns: that step's boundary, on the monotonic clock, nanoseconds.
    received_ns: when the outcome reached the training thread, on the same clock, nanoseconds.
    blocked_ns: that thread's time on the call, nanoseconds.
    inline: whether all of the call lay inside its iteration.
    deadline_ns: the budget the call had when it was asked, nanoseconds.
    proposed: the stage in which the kernel computed the subproblem.
    applying: the stage in which the decision was made and the answer applied.
    outcome: how the call ended.
    applied: what became of the answer.
    dense, surrogate_error: see `Proposal`.
    around: what accelerators and fabrics did meanwhile, for observers of a loop that has `shotclock.attach`.
    """

    step: int
    request_id: str
    subproblem: Subproblem
    boundary_ns: int
    received_ns: int
    blocked_ns: int
    inline: bool
    deadline_ns: int
    proposed: StageTiming
    applying: StageTiming
    outcome: Outcome
    applied: Applied
    dense: Subproblem | None = None
    surrogate_error: float = 0.0
    around: AroundCall = NOT_READ


@dataclass(frozen=True, slots=True, eq=False)
class CircuitCall:
    """A call of circuits that the workload itself made within a step, through a primitive.

    step: number of the step.
    request_id: the request's name.
    phase: "forward", or "backward" inside autograd's backward pass.
    asked_ns: when the workload made the call, on the monotonic clock, nanoseconds.
    received_ns: when its outcomes reached the workload, on the same clock, nanoseconds.
    blocked_ns: the time that the workload's thread waited for it, nanoseconds.
    deadline_ns: its budget, nanoseconds.
    outcomes: of each point, one or more.
    """

    step: int
    request_id: str
    phase: str
    asked_ns: int
    received_ns: int
    blocked_ns: int
    deadline_ns: int
    outcomes: tuple[CircuitOutcome, ...]


@dataclass(frozen=True, slots=True)
class CallCounts:
    """Of the calls that fell due by the policy, how many were asked, and why the others were not.

    asked: handed to the orchestrator.
    in_flight: skipped, as many calls as the policy allows were under way.
    retry_after: skipped, the orchestrator had refused a call and named a time to wait for.
    no_memory: skipped, free memory does not allow for one more call in flight.
    no_proposal: skipped, the kernel raised or proposed what cannot be solved.
    failed_answers: of those asked, rejected as the kernel raised or returned what cannot be applied.
    """

    asked: int = 0
    in_flight: int = 0
    retry_after: int = 0
    no_memory: int = 0
    no_proposal: int = 0
    failed_answers: int = 0

    @property
    def due(self) -> int:
        """All of them."""
        return self.asked + self.skipped

    @property
    def skipped(self) -> int:
        """Those that were not asked."""
        return self.in_flight + self.retry_after + self.no_memory + self.no_proposal

    def __str__(self) -> str:
        """One line for a person."""
        text = f"calls due {self.due}: {self.asked} asked, {self.skipped} skipped"
        reasons = []
        if self.in_flight:
            reasons.append(f"{self.in_flight} because policy.in_flight calls were under way already")
        if self.retry_after:
            reasons.append(f"{self.retry_after} because the orchestrator had asked to wait")
        if self.no_memory:
            reasons.append(f"{self.no_memory} because memory allows no more calls in flight")
        if self.no_proposal:
            reasons.append(f"{self.no_proposal} because the kernel failed")
        text = f"{text} ({', '.join(reasons)})" if reasons else text
        return (
            f"{text}, {self.failed_answers} rejected because the kernel failed"
            if self.failed_answers
            else text
        )
