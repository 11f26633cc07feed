"""The sweep to the knee: the highest rate that meets the deadline, by bisection. Decides, runs nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shotclock.bench.load.records import Basis
from shotclock.bench.load.schema import Knee, LoadRun
from shotclock.bench.schema import Result

FEWEST_CALLS = 1_000
"""A run's: 662 is the fewest a p99 can be gated on, and then not one call may be late."""
TRIES = 2
"""Runs at a rate before an inconclusive one counts as not met, each as long again as those before; and
runs that were late themselves, at one rate after another, before the search ends."""


@dataclass(frozen=True, slots=True)
class RatePoint:
    """A run of the sweep.

    rate_per_s: the planned one.
    result: whether it met the deadline.
    faulty: the load itself was not as planned.
    hopeless: not one call came in time. The first of them found no queue, so no lower rate can help.
    """

    rate_per_s: float
    result: Result
    faulty: bool = False
    hopeless: bool = False

    @classmethod
    def of(cls, rate_per_s: float, run: LoadRun, basis: Basis = "any") -> RatePoint:
        """A run that had not settled has not met its deadline, whatever its percentile."""
        unsettled = run.result is Result.PASS and run.stable is False
        result = Result.INCONCLUSIVE if unsettled else run.result
        in_time = run.quantum_share if basis == "quantum" else run.deadline_hit_ratio
        return cls(rate_per_s, result, bool(run.faults), in_time.value == 0 and result is Result.FAIL)


@dataclass(frozen=True, slots=True)
class Try:
    """Run at this rate for this long next."""

    rate_per_s: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class Search:
    """How a sweep looks for the knee.

    start_per_s: the first rate; the search leaves it by factors of two, within `span` either way.
    duration_s: length of a run, seconds; a low rate's is longer, for enough calls.
    resolution: how near the rates around the knee must be, as a share of the lower one.
    span: how far the rates may be from the first, as a factor.
    confirmations: runs that must all meet the deadline at the knee (an official claim needs five).
    """

    start_per_s: float
    duration_s: float
    resolution: float = 0.10
    span: float = 256.0
    confirmations: int = 1

    def next(self, points: Sequence[RatePoint]) -> Try | Knee:
        """What to run next, or the knee."""
        if not points:
            return self._try(self.start_per_s, 0)
        last = points[-1]
        tried = sum(point.rate_per_s == last.rate_per_s for point in points)
        if last.result is Result.INCONCLUSIVE and not last.faulty and tried < TRIES:
            return self._try(last.rate_per_s, tried)
        missed = [rate for rate in _rates(points) if not self.has_met(points, rate)]
        lowest = min(missed, default=math.inf)
        met = max((rate for rate in _rates(points) if rate < lowest), default=0.0)
        if met == 0.0:
            return self._lower(points, lowest)
        if lowest == math.inf:
            higher = 2 * met
            return self._try(higher, 0) if higher <= self.start_per_s * self.span else self.to_knee(points)
        if lowest > met * (1 + self.resolution):
            return self._try(math.sqrt(met * lowest), 0)
        passes = sum(point.rate_per_s == met and point.result is Result.PASS for point in points)
        return self._try(met, 0) if passes < self.confirmations else self.to_knee(points)

    def has_met(self, points: Sequence[RatePoint], rate: float) -> bool:
        """Runs that settled all passed; those that did not are few enough to have been repeated."""
        results = [point.result for point in points if point.rate_per_s == rate]
        settled = [result for result in results if result is not Result.INCONCLUSIVE]
        repeated = len(results) - len(settled) <= max(TRIES - 1, self.confirmations - 1)
        return bool(settled) and repeated and all(result is Result.PASS for result in settled)

    def _lower(self, points: Sequence[RatePoint], lowest: float) -> Try | Knee:
        lower = lowest / 2
        if _hopeless(points) or _late_itself(points):
            return self.to_knee(points)
        return self._try(lower, 0) if lower >= self.start_per_s / self.span else self.to_knee(points)

    def _try(self, rate_per_s: float, tried: int) -> Try:
        longest_s = max(self.duration_s, FEWEST_CALLS / rate_per_s)
        return Try(rate_per_s, longest_s * 2**tried)

    def to_knee(self, points: Sequence[RatePoint]) -> Knee:
        missed = [rate for rate in _rates(points) if not self.has_met(points, rate)]
        lowest = min(missed, default=None)
        met = max((r for r in _rates(points) if lowest is None or r < lowest), default=None)
        return Knee(met_per_s=met, missed_per_s=lowest, why=_why(points, met, lowest))


def _rates(points: Sequence[RatePoint]) -> set[float]:
    return {point.rate_per_s for point in points}


def _hopeless(points: Sequence[RatePoint]) -> bool:
    """Where a lower rate cannot help."""
    return points[-1].hopeless


def _late_itself(points: Sequence[RatePoint]) -> bool:
    """Where a lower rate did not help the generator, so that the next would not."""
    return len(points) >= TRIES and all(point.faulty for point in points[-TRIES:])


def _why_none(points: Sequence[RatePoint]) -> str:
    if _hopeless(points):
        return "no call came in time, not even those that found no queue: no rate can meet the deadline"
    if _late_itself(points):
        return (
            "the load generator or the emulation was late itself at lower rates too: this machine is too "
            "busy to tell"
        )
    return "no rate of the sweep met the deadline"


def _why(points: Sequence[RatePoint], met: float | None, missed: float | None) -> str:
    if met is None:
        return _why_none(points)
    if missed is None:
        return "every rate of the sweep met the deadline: the knee is higher"
    at = [point for point in points if point.rate_per_s == missed]
    if any(point.faulty for point in at):
        return (
            "the load generator or the emulation, not the orchestrator, was at its limit above it: "
            "the knee may be higher"
        )
    if all(point.result is Result.INCONCLUSIVE for point in at):
        return "above it two runs were inconclusive or unstable"
    return "above it the deadline was missed"
