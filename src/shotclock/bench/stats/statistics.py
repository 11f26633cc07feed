"""Percentiles that are honest or absent, and gates by binomial bounds.

Quantiles are exact order statistics of int64 nanoseconds. The upper bound of a p-quantile is the one
MLPerf LoadGen stops early on: with t the most calls that may lie above it, the largest t for which
P(Binomial(n, 1−p) ≤ t) ≤ 1−c, the bound is the (n−t)-th smallest value; below t = 1 it does not exist. That
is LoadGen's rule of the server scenario turned round: the bound is within a limit where the rule passes it.
(LoadGen's own estimate for streams is one rank higher; a test checks both against it.) c = 0.99
needs n ≥ 11, 130 and 662 for p50, p95 and p99.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shotclock.bench.numbers import limit_ms as format_limit_ms
from shotclock.bench.numbers import round_percent
from shotclock.bench.schema import Percentile, Ratio, Result
from shotclock.bench.stats.distributions import (
    binomial_cdf,
    binomial_isf,
    binomial_ppf,
    binomial_sf,
    exact_interval,
    t_half_width,
)
from shotclock.domain.plural import count as calls

CONFIDENCE = 0.99
QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Latencies of one figure: the measured ones sorted, shape (k,), int64 ns, and how many calls missed.

    A missed call counts as longer than every measured one, and than its limit.
    """

    values_ns: NDArray[np.int64]
    missed: int = 0

    @classmethod
    def of(cls, values_ns: list[int], missed: int = 0) -> Sample:
        """From values in any order."""
        return cls(np.sort(np.asarray(values_ns, dtype=np.int64)), missed)

    @property
    def n(self) -> int:
        """Calls, misses included."""
        return len(self.values_ns) + self.missed

    def rank_ms(self, rank: int) -> float | None:
        """The rank-th smallest, from 1, in milliseconds; None where it is a miss."""
        return float(self.values_ns[rank - 1]) / NS_PER_MS if rank <= len(self.values_ns) else None

    def mean_ms(self) -> float | None:
        """Over the measured values; None without any."""
        return float(self.values_ns.mean()) / NS_PER_MS if len(self.values_ns) else None

    def above(self, limit_ms: float) -> int:
        """How many are over a limit, misses included."""
        within = int(np.searchsorted(self.values_ns, math.floor(limit_ms * NS_PER_MS), side="right"))
        return self.n - within


def pool(samples: Sequence[Sample]) -> Sample:
    """All calls of several samples as one."""
    values = np.concatenate([np.zeros(0, np.int64), *(sample.values_ns for sample in samples)])
    return Sample(np.sort(values), sum(sample.missed for sample in samples))


@lru_cache(maxsize=16)
def fewest(quantile: float) -> int:
    """The fewest calls whose percentile is printed: 11, 130 and 662 for p50, p95 and p99."""
    n = 1
    while allowance(n, quantile) < 1:
        n += 1
    return n


@lru_cache(maxsize=4096)
def allowance(n: int, quantile: float) -> int:
    """The most of n calls that may be over a limit for its quantile to be below it at 0.99; −1 for none."""
    allowed = binomial_ppf(1 - CONFIDENCE, n, 1 - quantile)
    while allowed >= 0 and binomial_cdf(allowed, n, 1 - quantile) > 1 - CONFIDENCE:
        allowed -= 1
    return allowed


def percentile(sample: Sample, quantile: float) -> Percentile | None:
    """The nearest-rank quantile with its upper bound; None with too few samples."""
    if sample.n == 0 or (allowed := allowance(sample.n, quantile)) < 1:
        return None
    rank = math.ceil(quantile * sample.n)
    return Percentile(value=sample.rank_ms(rank), upper_bound=sample.rank_ms(sample.n - allowed))


def gate_quantile(sample: Sample, quantile: float, limit_ms: float) -> tuple[Result, str]:
    """Whether a quantile is at most a limit, at confidence 0.99 either way, and the count that says so."""
    if sample.n == 0:
        return Result.INCONCLUSIVE, "no calls"
    over = sample.above(limit_ms)
    allowed = allowance(sample.n, quantile)
    fails_from = binomial_isf(1 - CONFIDENCE, sample.n, 1 - quantile) + 1
    count = f"{over:,} of {calls(sample.n, 'call')} over {format_limit_ms(limit_ms)}"
    if over <= allowed:
        return Result.PASS, f"{count}; {allowed} allowed"
    if over >= fails_from:
        return Result.FAIL, f"{count}; fails from {fails_from}"
    allowed_text = f"passes at {allowed} or fewer" if allowed >= 0 else "too few calls to pass"
    return Result.INCONCLUSIVE, f"{count}; {allowed_text}, fails from {fails_from}"


def ratio(successes: int, n: int) -> Ratio:
    """A share with its two-sided 99 % Clopper–Pearson interval."""
    if n == 0:
        return Ratio(n=0, value=None, lower_bound=None, upper_bound=None)
    low, high = exact_interval(successes, n, CONFIDENCE)
    return Ratio(n=n, value=successes / n, lower_bound=low, upper_bound=high)


def gate_ratio(successes: int, n: int, at_least: float) -> tuple[Result, str]:
    """Whether a share is at least a limit, at confidence 0.99 either way."""
    count = f"{successes:,} of {calls(n, 'call')}"
    if n and binomial_sf(successes - 1, n, at_least) <= 1 - CONFIDENCE:
        return Result.PASS, count
    if n and binomial_cdf(successes, n, at_least) <= 1 - CONFIDENCE:
        return Result.FAIL, count
    return Result.INCONCLUSIVE, f"{count}: inconclusive at {round_percent(CONFIDENCE)} confidence"


def estimate_paired_interval(differences: list[float]) -> tuple[float, float] | None:
    """95 % t-interval of the mean over seeds; None with fewer than two."""
    if len(differences) < 2:
        return None
    mean = float(np.mean(differences))
    half = t_half_width(differences, 0.95)
    return mean - half, mean + half
