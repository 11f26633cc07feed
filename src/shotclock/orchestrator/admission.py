"""Admission on arrival, without I/O: a call is admitted, or refused with the limit that refused it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from shotclock.domain.budget import NS_PER_MS, NS_PER_S
from shotclock.domain.data_policy import ANYWHERE, DataPolicy
from shotclock.domain.memory import NO_LIMIT, MemoryLimit
from shotclock.domain.outcome import MEMORY, REMAINING_BUDGET, Rejection
from shotclock.domain.subproblem import Priority
from shotclock.orchestrator.quotas import DEFAULT_QUOTA, CallerQuota

MEMORY_RETRY_S = 0.1
FEWEST_CALLERS = 64
"""So many are remembered before those without a wait are forgotten."""
WINDOW_NS = NS_PER_S
SLICE_NS = 100 * NS_PER_MS
"""The window moves by slices, so that its memory does not grow with the load."""


def admit_all() -> Rejection | None:
    """Of a host whose health nobody judges."""


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """When calls are refused, and whether samples may be shared.

    queue_limit: calls that may wait.
    protected: refuse calls that are predicted not to finish, all calls while the breaker is open, and the
        lower priorities first under overload.
    overload_wait_ns: a mean queue wait above this is overload.
    seed_policy: "fresh" never answers from an equal call's samples; any other name lets calls share them.
    quota: what each caller may have in progress.
    data: which calls may leave for the provider; the others are answered without it.
    memory: bounds the calls in progress, where `protected`.
    refuse_by_host: refuses every call while the host's health requires that, where `protected`.
    """

    queue_limit: int
    protected: bool
    overload_wait_ns: int = 100_000_000
    seed_policy: str = "fresh"
    quota: CallerQuota = DEFAULT_QUOTA
    data: DataPolicy = ANYWHERE
    memory: MemoryLimit = NO_LIMIT
    refuse_by_host: Callable[[], Rejection | None] = admit_all


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """What the orchestrator holds at this instant.

    waiting: calls ahead of a new one.
    running: jobs at the provider.
    ahead_s: predicted time until those jobs are done, seconds.
    lanes: jobs that may run at once.
    service_p95_s: p95 of one job, submit to samples, seconds.
    batch: calls one job can carry.
    """

    waiting: int
    running: int
    ahead_s: float
    lanes: int
    service_p95_s: float
    batch: int = 1


def predict_s(load: QueueLoad) -> float:
    """p95 of waiting plus service time of one more call, seconds: ahead + ⌈(waiting + 1)/batch⌉ × service.

    Conservative: the QPU runs one job at a time, so lanes do not divide it; p95s are added.
    """
    jobs = -(-(load.waiting + 1) // load.batch)
    return load.ahead_s + jobs * load.service_p95_s


def admit(load: QueueLoad, remaining_ns: int) -> Rejection | None:
    """None admits; a rejection means that the call is predicted not to finish in time."""
    needed = predict_s(load)
    remaining = remaining_ns / NS_PER_S
    if needed <= remaining:
        return None
    retry_after = max(0.0, needed - load.service_p95_s)
    return Rejection(REMAINING_BUDGET, remaining, needed, "s predicted p95", retry_after)


def explain_displacement(load: QueueLoad, queue_limit: int) -> Rejection:
    """The rejection of a call that is displaced because the queue is full."""
    return Rejection("queue_limit", queue_limit, queue_limit, "calls waiting", load.service_p95_s)


def refuse_by_memory(open_calls: int, memory: MemoryLimit) -> Rejection | None:
    """None admits; a service never waits for memory, because a waiting call holds some too."""
    fits = memory.calls
    if open_calls < fits:
        return None
    return Rejection(MEMORY, fits, open_calls, "calls in progress", MEMORY_RETRY_S)


def overload(mean_queue_wait_ns: int, threshold_ns: int, priority: Priority) -> Rejection | None:
    """None admits. Above the threshold LOW is refused, above twice the threshold NORMAL too (DAGOR).

    HIGH is refused only by a full queue. The suggested retry time is the window over which the mean is taken.
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


class QueueWaits:
    """The queue wait of each caller: one that fills the queue waits, the others do not."""

    def __init__(self) -> None:
        self._of: dict[str, QueueWait] = {}
        self._forget_at = FEWEST_CALLERS

    def observe(self, caller: str, wait_ns: int, now_ns: int) -> None:
        """A call of this caller left the queue at this instant, after this wait."""
        if caller not in self._of:
            if len(self._of) >= self._forget_at:  # seldom: it looks at every caller
                self._of = {name: wait for name, wait in self._of.items() if wait.mean_ns(now_ns)}
                self._forget_at = max(FEWEST_CALLERS, 2 * len(self._of))
            self._of[caller] = QueueWait()
        self._of[caller].observe(wait_ns, now_ns)

    def mean_ns(self, caller: str, now_ns: int) -> int:
        """See `QueueWait.mean_ns`."""
        wait = self._of.get(caller)
        return wait.mean_ns(now_ns) if wait else 0


class QueueWait:
    """Mean waiting time of the calls that left the queue in the last second.

    Calls whose deadline passed count too: under overload they waited longest. In a stall no call leaves and
    the mean is 0; the queue limit and the predicted wait refuse calls then.
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
        """The mean over the present slice of 100 ms and the nine before it; 0 if no call left."""
        self._forget(now_ns // SLICE_NS)
        return self._total_ns // self._count if self._count else 0

    def _forget(self, number: int) -> None:
        while self._slices and self._slices[0].number <= number - WINDOW_NS // SLICE_NS:
            oldest = self._slices.popleft()
            self._count -= oldest.count
            self._total_ns -= oldest.total_ns
