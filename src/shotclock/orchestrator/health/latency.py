"""What a job and a classical answer take here, learned from those that ran."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from typing import Generic, TypeVar

from shotclock.domain.budget import NS_PER_S

LEARNED_FROM = 20
JOBS = 200
OLDEST_NS = 60 * NS_PER_S
FALLBACKS_LEARNED_FROM = 100
"""Fewer have no 99th percentile of their own."""
FALLBACKS = 1000

Number = TypeVar("Number", int, float)


class _Window(Generic[Number]):
    """The last values with their instants, and the same values in order at all times."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._seen: deque[tuple[int, Number]] = deque()
        self._ranked: list[Number] = []

    def __len__(self) -> int:
        return len(self._ranked)

    def add(self, value: Number, now_ns: int) -> None:
        """The newest; beyond the size the oldest goes."""
        self._seen.append((now_ns, value))
        insort(self._ranked, value)
        if len(self._seen) > self._size:
            self._drop_oldest()

    def forget(self, before_ns: int) -> None:
        """Drops what was seen before this instant."""
        while self._seen and self._seen[0][0] < before_ns:
            self._drop_oldest()

    def percentile(self, percent: int) -> Number:
        """By nearest rank: the smallest value that percent of the values do not exceed."""
        return self._ranked[-(-percent * len(self._ranked) // 100) - 1]

    def _drop_oldest(self) -> None:
        _, value = self._seen.popleft()
        del self._ranked[bisect_left(self._ranked, value)]


class Slowness:
    """p95 of how much longer than predicted jobs took: the last 200 of the last 60 s, from 20 of them on.

    The age limit is what lets a slow spell end: if slow jobs alone were remembered, admission would
    refuse every call, no job would run, and nothing faster would ever be seen. Below 20 the provider's
    own prediction stands, so one that runs fewer jobs a minute is always predicted by itself.
    """

    def __init__(self) -> None:
        self._excess_s: _Window[float] = _Window(JOBS)

    def observe(self, excess_s: float, now_ns: int) -> None:
        """One finished job, at this instant; negative where it took less than predicted."""
        self._excess_s.add(excess_s, now_ns)

    def p95_s(self, now_ns: int) -> float:
        """The nearest-rank p95 of what was seen, 0 until enough was, seconds."""
        self._excess_s.forget(now_ns - OLDEST_NS)
        return 0.0 if len(self._excess_s) < LEARNED_FROM else self._excess_s.percentile(95)


class FallbackTime:
    """p99 of the classical answer's own time over the last 1,000: when the fallback must start (O9).

    It needs no age limit: the fallback is always running, on 1 % of live traffic at least.
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
