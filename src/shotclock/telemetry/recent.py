"""The calls of the last five minutes, by caller: exact counts, and percentiles of enough calls."""

from __future__ import annotations

import math
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.overview import Interval, ProviderFaultSeen, RecentCalls

INTERVAL_S = 10
INTERVALS = 30
WINDOW_S = INTERVAL_S * INTERVALS

MOST_TIMED = 8192
"""Of each caller, as many durations are held."""

FEWEST = {0.5: 11, 0.95: 130, 0.99: 662}
"""Fewest calls of which a percentile is shown: those with which a bound at 0.99 confidence exists."""

HOLD_NS = NS_PER_S
"""A summary is computed once a second at most, however many pages ask for it."""


@dataclass(slots=True)
class _Counts:
    """The calls that ended in one interval.

    number: of the interval, since the clock's origin.
    samples: answered in time with new samples.
    classical: answered in time without.
    missed: the others.
    late_at_client: those the client reported as late.
    refused: those refused, by limit.
    """

    number: int
    samples: int = 0
    classical: int = 0
    missed: int = 0
    late_at_client: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class _Durations:
    """The newest durations, each with the instant at which its call ended, nanoseconds."""

    def __init__(self) -> None:
        self._durations, self._ends = array("q"), array("q")
        self._next = 0

    def add(self, duration_ns: int, ended_ns: int) -> None:
        if len(self._ends) < MOST_TIMED:
            self._durations.append(duration_ns)
            self._ends.append(ended_ns)
            return
        self._durations[self._next], self._ends[self._next] = duration_ns, ended_ns
        self._next = (self._next + 1) % MOST_TIMED

    def since(self, instant_ns: int) -> npt.NDArray[np.int64]:
        """Those of calls that ended from this instant on, sorted."""
        durations = np.array(self._durations, dtype=np.int64)
        return np.sort(durations[np.array(self._ends, dtype=np.int64) >= instant_ns])


class CallerWindow:
    """One caller's calls of the window."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._intervals: deque[_Counts] = deque()
        self._durations = _Durations()

    def record(self, duration_ns: int, *, in_time: bool, samples: bool, limit: str = "") -> None:
        """A call ended; limit: the limit that refused it, "" if none did."""
        counts = self._present()
        if not in_time:
            counts.missed += 1
        elif samples:
            counts.samples += 1
        else:
            counts.classical += 1
        if limit:
            counts.refused[limit] += 1
        self._durations.add(duration_ns, self._now_ns())

    def record_late_at_client(self, calls: int) -> None:
        """The client ended so many calls by itself."""
        self._present().late_at_client += calls

    def intervals(self) -> list[_Counts]:
        """Those of the window with calls, oldest first."""
        oldest = self._number() - INTERVALS
        while self._intervals and self._intervals[0].number <= oldest:
            self._intervals.popleft()
        return list(self._intervals)

    def durations(self) -> npt.NDArray[np.int64]:
        """The newest durations within the window, sorted."""
        return self._durations.since((self._number() - INTERVALS + 1) * INTERVAL_S * NS_PER_S)

    def _number(self) -> int:
        return self._now_ns() // (INTERVAL_S * NS_PER_S)

    def _present(self) -> _Counts:
        number = self._number()
        if not self._intervals or self._intervals[-1].number != number:
            self._intervals.append(_Counts(number))
            self.intervals()
        return self._intervals[-1]


@dataclass(frozen=True, slots=True)
class RecentSummary:
    """What `Overview` shows of recent calls."""

    everybody: RecentCalls
    callers: tuple[RecentCalls, ...]
    intervals: tuple[Interval, ...]


class RecentWindow:
    """Every caller's recent calls and the provider's last fault.

    now_ns: a monotonic clock; wall_s: Unix time in seconds.
    """

    def __init__(
        self, now_ns: Callable[[], int] = time.monotonic_ns, wall_s: Callable[[], float] = time.time
    ) -> None:
        self._now_ns = now_ns
        self._wall_s = wall_s
        self._callers: dict[str, CallerWindow] = {}
        self._summary: tuple[int, RecentSummary] | None = None
        self.last_fault: ProviderFaultSeen | None = None

    def of_caller(self, name: str) -> CallerWindow:
        """The caller's window, new at its first call."""
        if name not in self._callers:
            self._callers[name] = CallerWindow(self._now_ns)
        return self._callers[name]

    def record_fault(self, message: str) -> None:
        """A fault of the provider ended a call."""
        self.last_fault = ProviderFaultSeen(self._wall_s(), message)

    def summarise(self) -> RecentSummary:
        """The window as it is now, up to a second old."""
        now = self._now_ns()
        if self._summary is None or now - self._summary[0] >= HOLD_NS:
            self._summary = (now, self._summarise())
        return self._summary[1]

    def _summarise(self) -> RecentSummary:
        durations = {name: window.durations() for name, window in self._callers.items()}
        intervals = {name: window.intervals() for name, window in self._callers.items()}
        callers = [_describe(name, counts, durations[name]) for name, counts in intervals.items() if counts]
        every = [counts for of_caller in intervals.values() for counts in of_caller]
        pooled = np.sort(np.concatenate([np.zeros(0, np.int64), *durations.values()]))
        return RecentSummary(
            _describe("", every, pooled),
            tuple(sorted(callers, key=lambda recent: (-recent.misses, -recent.calls, recent.caller))),
            self._add_intervals(every),
        )

    def _add_intervals(self, every: list[_Counts]) -> tuple[Interval, ...]:
        now = self._now_ns()
        present = now // (INTERVAL_S * NS_PER_S)
        begin_s = self._wall_s() - (now / NS_PER_S - present * INTERVAL_S)
        totals = {number: [0, 0, 0] for number in range(present - INTERVALS + 1, present + 1)}
        for counts in every:
            if (total := totals.get(counts.number)) is not None:
                total[0] += counts.samples
                total[1] += counts.classical
                total[2] += counts.missed
        return tuple(
            Interval(begin_s + (number - present) * INTERVAL_S, *total) for number, total in totals.items()
        )


def _describe(name: str, intervals: list[_Counts], durations: npt.NDArray[np.int64]) -> RecentCalls:
    refused: Counter[str] = Counter()
    for counts in intervals:
        refused.update(counts.refused)
    samples, classical = (sum(counts.samples for counts in intervals), sum(c.classical for c in intervals))
    return RecentCalls(
        name,
        samples + classical + sum(counts.missed for counts in intervals),
        samples,
        classical,
        sum(counts.late_at_client for counts in intervals),
        dict(refused.most_common()),
        len(durations),
        *(find_percentile(durations, quantile) for quantile in FEWEST),
    )


def find_percentile(durations: npt.NDArray[np.int64], quantile: float) -> float | None:
    """The nearest-rank quantile of sorted durations, seconds; None with too few."""
    if len(durations) < FEWEST[quantile]:
        return None
    return float(durations[math.ceil(quantile * len(durations)) - 1]) / NS_PER_S
