"""How long jobs and classical answers take on this machine, learned from those that ran."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from typing import Generic, TypeVar

from shotclock.domain.budget import NS_PER_S

LEARNED_FROM = 20
JOBS = 200
OLDEST_NS = 60 * NS_PER_S
FALLBACKS_LEARNED_FROM = 100
"""Fewer values have no meaningful 99th percentile."""
FALLBACKS = 1000

Number = TypeVar("Number", int, float)


class _Window(Generic[Number]):
    """The last values with their instants, and the same values in order at all times."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: deque[tuple[int, Number]] = deque()
        self._ranked: list[Number] = []

    def __len__(self) -> int:
        return len(self._ranked)

    def add(self, value: Number, now_ns: int) -> None:
        """Adds the newest value; beyond the size, drops the oldest."""
        self._values.append((now_ns, value))
        insort(self._ranked, value)
        if len(self._values) > self._size:
            self._drop_oldest()

    def forget(self, before_ns: int) -> None:
        """Drops what was seen before this instant."""
        while self._values and self._values[0][0] < before_ns:
            self._drop_oldest()

    def percentile(self, percent: int) -> Number:
        """By nearest rank: the smallest value that percent of the values do not exceed."""
        return self._ranked[-(-percent * len(self._ranked) // 100) - 1]

    def _drop_oldest(self) -> None:
        _, value = self._values.popleft()
        del self._ranked[bisect_left(self._ranked, value)]


class Slowness:
    """p95 of how much longer than predicted jobs took: the last 200 of the last 60 s, from 20 of them on.

    The age limit lets a slow period end: if only slow jobs were remembered, admission would refuse every
    call, no job would run, and no faster job would ever be observed. Below 20 jobs the provider's own
    prediction is used, so a provider that runs fewer jobs a minute always uses its own prediction.
    """

    def __init__(self) -> None:
        self._excess_s: _Window[float] = _Window(JOBS)

    def observe(self, excess_s: float, now_ns: int) -> None:
        """One finished job, at this instant; negative where it took less than predicted."""
        self._excess_s.add(excess_s, now_ns)

    def p95_s(self, now_ns: int) -> float:
        """The nearest-rank p95 of the window, seconds; 0 until it holds enough jobs."""
        self._excess_s.forget(now_ns - OLDEST_NS)
        return 0.0 if len(self._excess_s) < LEARNED_FROM else self._excess_s.percentile(95)


class FallbackTime:
    """p99 duration of the last 1,000 classical answers, which decides when the fallback must start (O9).

    It needs no age limit: the fallback always runs, on at least 1 % of live traffic.
    """

    def __init__(self) -> None:
        self._times_ns: _Window[int] = _Window(FALLBACKS)

    def observe(self, duration_ns: int) -> None:
        """One classical answer."""
        self._times_ns.add(duration_ns, 0)

    def p99_ns(self, default_ns: int) -> int:
        """The nearest-rank p99; below 100 answers the default or the slowest seen, whichever is longer."""
        if len(self._times_ns) < FALLBACKS_LEARNED_FROM:
            return max(default_ns, self._times_ns.percentile(100)) if len(self._times_ns) else default_ns
        return self._times_ns.percentile(99)
