"""Decides on arrival, without I/O: in, or refused with the limit that says no."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from shotclock.domain.budget import NS_PER_MS, NS_PER_S
from shotclock.domain.outcome import REMAINING_BUDGET, Rejection
from shotclock.domain.subproblem import Priority

WINDOW_NS = NS_PER_S
SLICE_NS = 100 * NS_PER_MS
"""The window slides by slices, so that its memory does not grow with the load."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the orchestrator holds at this instant; service_p95_s is one job's, submit to samples.

    waiting: calls that a newcomer does not pass; running: jobs, ahead_s: predicted until they are done;
    batch: how many calls one job can carry.
    """

    waiting: int
    running: int
    ahead_s: float
    lanes: int
    service_p95_s: float
    batch: int = 1


def predict_s(load: Load) -> float:
    """p95 of wait plus service of one more call, seconds: ahead + ⌈(waiting + 1)/batch⌉ × service.

    Conservative: the QPU runs one job at a time, so lanes do not divide it; p95s are added.
    """
    jobs = -(-(load.waiting + 1) // load.batch)
    return load.ahead_s + jobs * load.service_p95_s


def admit(load: Load, remaining_ns: int) -> Rejection | None:
    """None admits; the rejection is of a call that predictably cannot finish."""
    needed = predict_s(load)
    remaining = remaining_ns / NS_PER_S
    if needed <= remaining:
        return None
    retry_after = max(0.0, needed - load.service_p95_s)
    return Rejection(REMAINING_BUDGET, remaining, needed, "s predicted p95", retry_after)


def explain_displacement(load: Load, queue_limit: int) -> Rejection:
    """Of the call that has to go when the queue is full."""
    return Rejection("queue_limit", queue_limit, queue_limit, "calls waiting", load.service_p95_s)


def overload(mean_queue_wait_ns: int, threshold_ns: int, priority: Priority) -> Rejection | None:
    """None admits. Over the threshold LOW is refused, over twice the threshold NORMAL too (DAGOR).

    HIGH is refused by the queue's bound alone. A later call may find another mean once the window it
    is taken over has passed.
    """
    if priority is Priority.HIGH:
        return None
    allowed_ns = threshold_ns if priority is Priority.LOW else 2 * threshold_ns
    if mean_queue_wait_ns <= allowed_ns:
        return None
    return Rejection(
        "queue_wait",
        allowed_ns / NS_PER_S,
        mean_queue_wait_ns / NS_PER_S,
        "s mean queue wait",
        WINDOW_NS / NS_PER_S,
    )


@dataclass(slots=True)
class _Slice:
    number: int
    count: int = 0
    total_ns: int = 0


class QueueWait:
    """Mean time that calls which left the queue in the last second had waited in it.

    Every leaving counts, that of a call whose deadline passed too: under overload those waited longest.
    In a stall nobody leaves and the mean is 0; the queue's bound and the predicted wait refuse then.
    """

    def __init__(self) -> None:
        self._slices: deque[_Slice] = deque()
        self._count = 0
        self._total_ns = 0

    def observe(self, wait_ns: int, now_ns: int) -> None:
        """A call left the queue at this instant, after this wait."""
        number = now_ns // SLICE_NS
        if not self._slices or self._slices[-1].number != number:
            self._forget(number)
            self._slices.append(_Slice(number))
        newest = self._slices[-1]
        newest.count += 1
        newest.total_ns += wait_ns
        self._count += 1
        self._total_ns += wait_ns

    def mean_ns(self, now_ns: int) -> int:
        """Over the present slice of 100 ms and the nine before it; 0 when nobody left."""
        self._forget(now_ns // SLICE_NS)
        return self._total_ns // self._count if self._count else 0

    def _forget(self, number: int) -> None:
        while self._slices and self._slices[0].number <= number - WINDOW_NS // SLICE_NS:
            oldest = self._slices.popleft()
            self._count -= oldest.count
            self._total_ns -= oldest.total_ns
