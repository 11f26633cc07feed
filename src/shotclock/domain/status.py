"""What a running orchestrator says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shotclock.domain.canary import NO_CANARY, CanaryReport
from shotclock.domain.flags import NO_FLAGS, FlagReport


class Phase(StrEnum):
    """An orchestrator's life, in order; a drained one may be resumed."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    DRAINED = "drained"


class BreakerState(StrEnum):
    """Whether the provider is trusted with jobs."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Status:
    """One look at an orchestrator.

    phase: whether it takes calls.
    provider: the provider's name.
    emulated: whether the provider is emulated.
    breaker: whether the provider is trusted with jobs.
    waiting: calls that wait for a job.
    running: jobs at the provider, at most `lanes_limit` of them now.
    lanes_limit: jobs it may have there now.
    service_p95_s: predicted p95 of a job, submit to samples, seconds.
    accepted: calls accepted since the start.
    finished: calls that ended since the start.
    warnings: one line each for what needs attention soon, such as a certificate that expires.
    flags: the feature flags in force.
    canary: the canary that runs, or the last one.
    """

    phase: Phase
    provider: str
    emulated: bool
    breaker: BreakerState
    waiting: int
    running: int
    lanes_limit: int
    service_p95_s: float
    accepted: int
    finished: int
    warnings: tuple[str, ...] = ()
    flags: FlagReport = NO_FLAGS
    canary: CanaryReport = NO_CANARY


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drain came to: calls that finished in it, calls handed back unfinished."""

    finished: int
    handed_back: int
