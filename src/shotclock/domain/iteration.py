"""What a training loop reports: its iterations, and its calls when they have ended."""

from __future__ import annotations

from dataclasses import dataclass

from shotclock.domain.outcome import Decision, Outcome, Winner
from shotclock.domain.stages import StageTiming


@dataclass(frozen=True, slots=True)
class Iteration:
    """One training iteration: from its boundary to the end of its optimizer step."""

    step: int
    boundary_ns: int
    duration_ns: int
    batch_loss: float


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of an answer: the decision, whose bits, and the model version after it."""

    decision: Decision
    winner: Winner
    version: int


@dataclass(frozen=True, slots=True, eq=False)
class FinishedCall:
    """A call from the step boundary it was scheduled for to its end.

    received_ns: when the outcome reached the training thread; blocked_ns: that thread's time on the
    call; inline: whether all of the call lay inside its iteration.
    """

    step: int
    request_id: str
    boundary_ns: int
    received_ns: int
    blocked_ns: int
    inline: bool
    deadline_ns: int
    proposed: StageTiming
    applying: StageTiming
    outcome: Outcome
    applied: Applied
