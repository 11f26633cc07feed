"""Whether a run had settled: its last windows agree, as Triton's perf_analyzer asks.

https://github.com/triton-inference-server/perf_analyzer/blob/main/docs/inference_load_modes.md
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from shotclock.bench.load.arrivals import ArrivalPlan
from shotclock.bench.load.records import Basis, CallRecord
from shotclock.bench.load.schema import Window
from shotclock.bench.stats.distributions import binomial_ppf
from shotclock.bench.stats.statistics import CONFIDENCE
from shotclock.domain.budget import NS_PER_MS, NS_PER_S

COUNT = 6
"""Windows of equal length a run."""
LAST = 3
WITHIN = 0.10


def windows(calls: Sequence[CallRecord], plan: ArrivalPlan, basis: Basis) -> tuple[Window, ...]:
    """The run in stretches, by scheduled instant.

    rate: of an open load, calls that ended in the window per call that was due in it, which Poisson's own
    scatter leaves alone; of a closed one, whose windows go by the instants of its calls' ends, calls that
    ended a second.
    """
    if not calls:
        return ()
    by_end = not plan.open_loop
    end_ns = max(call.completed_ns for call in calls) + 1 if by_end else plan.duration_ns
    edges = [end_ns * number // COUNT for number in range(COUNT + 1)]
    measured = []
    for start, stop in pairwise(edges):
        due = [call for call in calls if start <= _instant(call, by_end) < stop]
        ended = sum(start <= call.completed_ns < stop for call in calls)
        seconds = (stop - start) / NS_PER_S
        quantile = _quantile(due, plan.quantile, basis)
        measured.append(
            Window(
                start_s=start / NS_PER_S,
                end_s=stop / NS_PER_S,
                n=len(due),
                rate=ended / max(1, len(due)) if plan.open_loop else ended / seconds,
                quantile_ms=quantile.value_ms,
                low_ms=quantile.low_ms,
                high_ms=quantile.high_ms,
            )
        )
    return tuple(measured)


def stable(measured: Sequence[Window]) -> bool | None:
    """Whether the last three windows lie within 10 % of their mean, rate and quantile.

    A tail's quantile over a window scatters by itself: it contradicts only where two windows' intervals
    lie more than 10 % apart. None if that is unknown.
    """
    last = measured[-LAST:]
    rates = [window.rate for window in last]
    if len(last) < LAST:
        return None
    if not _agree(rates):
        return False
    lows = [math.inf if window.low_ms is None else window.low_ms for window in last]
    highs = [math.inf if window.high_ms is None else window.high_ms for window in last]
    if max(lows) > (1 + WITHIN) * min(highs):
        return False
    quantiles = [window.quantile_ms for window in last if window.quantile_ms is not None]
    return True if len(quantiles) == LAST and _agree(quantiles) else None


def _agree(values: Sequence[float]) -> bool:
    mean = sum(values) / len(values)
    return all(abs(value - mean) <= WITHIN * mean for value in values)


def _instant(call: CallRecord, by_end: bool) -> int:
    return call.completed_ns if by_end else call.scheduled_ns


@dataclass(frozen=True, slots=True)
class _Quantile:
    """Empirical, with its distribution-free interval; None at a miss, or with too few calls above."""

    value_ms: float | None
    low_ms: float | None
    high_ms: float | None


def _quantile(calls: Sequence[CallRecord], quantile: float, basis: Basis) -> _Quantile:
    """Ranks of the interval by the binomial distribution, two-sided, as if calls were independent."""
    concerned = [call for call in calls if call.concerns(basis)]
    n = len(concerned)
    if n == 0:
        return _Quantile(None, 0.0, None)
    latencies = sorted(call.latency_ns / NS_PER_MS if call.counts(basis) else math.inf for call in concerned)
    low, high = (binomial_ppf(q, n, quantile) for q in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    enough = n * (1 - quantile) >= 1
    return _Quantile(
        _unless_missed(latencies[math.ceil(quantile * n) - 1]) if enough else None,
        _unless_missed(latencies[low - 1]) if low else 0.0,
        _unless_missed(latencies[high]) if high < n else None,
    )


def _unless_missed(latency_ms: float) -> float | None:
    return None if latency_ms == math.inf else latency_ms
