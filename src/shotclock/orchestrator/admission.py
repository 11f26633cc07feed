"""Decides on arrival, without I/O: in, or refused with the limit that says no."""

from __future__ import annotations

from dataclasses import dataclass

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.outcome import Rejection


@dataclass(frozen=True, slots=True)
class Load:
    """What the orchestrator holds at this instant; service_p95_s is one job's, submit to samples."""

    waiting: int
    running: int
    lanes: int
    service_p95_s: float


def predicted_s(load: Load) -> float:
    """p95 of wait plus service, seconds; the QPU runs one job at a time, so lanes do not divide it."""
    return (load.waiting + load.running + 1) * load.service_p95_s


def admit(load: Load, queue_limit: int, remaining_ns: int, shedding: bool) -> Rejection | None:
    """None admits. With shedding off only the queue's bound refuses."""
    if load.waiting >= queue_limit:
        return Rejection("queue_limit", queue_limit, load.waiting, "calls waiting", load.service_p95_s)
    needed = predicted_s(load)
    remaining = remaining_ns / NS_PER_S
    if shedding and needed > remaining:
        retry_after = max(0.0, needed - load.service_p95_s)
        return Rejection("remaining_budget", remaining, needed, "s predicted p95", retry_after)
    return None
