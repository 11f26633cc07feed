"""A canary: a share of the calls on the QPU beside the others, and what an operator sees of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

OnPass = Literal["promote", "keep"]
"""After a good verdict: all calls on the QPU, or the canary's share as it is."""


class CanaryPhase(StrEnum):
    """What became of a canary."""

    NONE = "none"
    RUNNING = "running"
    PROMOTED = "promoted"
    """The verdict was good: every call may use the QPU."""
    PASSED = "passed"
    """The verdict was good; the share stays as the operator asked."""
    ROLLED_BACK = "rolled_back"
    """It was worse; the share is what it was before."""
    ABORTED = "aborted"
    """An operator ended it, or changed the share while it ran."""


@dataclass(frozen=True, slots=True)
class CanaryRequest:
    """What an operator asks for.

    share: percentage of the calls that are on the QPU while it runs.
    on_pass: what follows a good verdict.
    slow_ms: a call is slow if it takes longer, milliseconds; None is the service's `quantum.budget_ms`.
    minimum, alpha, miss_margin, slow_margin, validation_margin: see `rollout.canary.CanaryPlan`.
    """

    share: int
    on_pass: OnPass
    slow_ms: float | None
    minimum: int
    alpha: float
    miss_margin: float
    slow_margin: float
    validation_margin: float


@dataclass(frozen=True, slots=True)
class CanaryGroup:
    """The calls of one side.

    calls: those that ended.
    missed: without an answer by their deadline.
    slow: missed, or slower than the limit.
    sampled: answered with new samples of the QPU.
    p95_ms: at most 5 % above the p95 of their duration, milliseconds; None of too few.
    validation_values: how many values of the model's validation metric were reported.
    validation_mean: their mean; None without any.
    """

    calls: int = 0
    missed: int = 0
    slow: int = 0
    sampled: int = 0
    p95_ms: float | None = None
    validation_values: int = 0
    validation_mean: float | None = None


@dataclass(frozen=True, slots=True)
class CanaryMeasure:
    """Canary minus control, above 0 is worse.

    measure: "deadline_misses", "slow_calls" or "validation".
    low, high: a confidence sequence of the difference; None where it has no bound yet.
    margin: the largest difference with which the canary passes.
    """

    measure: str
    low: float | None
    high: float | None
    margin: float


NO_CALLS = CanaryGroup()


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """A canary, running or the last one.

    phase: what became of it.
    share: its percentage of the calls.
    previous: the setting of `quantum_share` before it.
    caller: who started it.
    on_pass: what follows a good verdict.
    slow_ms: a call is slow if it takes longer, milliseconds.
    verdict: "promote", "roll_back" or "inconclusive".
    needed: calls of the canary until a verdict if both sides go on as they are; 0 where none is in sight.
    reason: why it ended, or what keeps it from ending.
    canary, control: the calls on the QPU's side, and those that the share keeps from it.
    measures: what was compared.
    """

    phase: CanaryPhase = CanaryPhase.NONE
    share: int = 0
    previous: str = ""
    caller: str = ""
    on_pass: str = ""
    slow_ms: float = 0.0
    verdict: str = ""
    needed: int = 0
    reason: str = ""
    canary: CanaryGroup = NO_CALLS
    control: CanaryGroup = NO_CALLS
    measures: tuple[CanaryMeasure, ...] = ()


NO_CANARY = CanaryReport()
