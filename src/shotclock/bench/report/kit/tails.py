"""Latency distributions: the tail on a log(1/(1−p)) axis, and the empirical distribution function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shotclock.bench.numbers import round_percent
from shotclock.bench.report.kit.arm_styles import Look
from shotclock.bench.report.kit.compose import Composed, stack
from shotclock.bench.report.kit.latency_samples import MISSION_MS, LatencySample, log_ms, log_ms_axis
from shotclock.bench.report.kit.panel import Axis, Curve, Panel, draw, rule, with_title
from shotclock.bench.stats.statistics import QUANTILES, allowance

_TICKS = ((0.0, "0 %"), (0.5, "50 %"), (0.9, "90 %"), (0.95, "95 %"), (0.99, "99 %"), (0.999, "99.9 %"))
_WIDTH = 680


def _tail_x(p: float) -> float:
    return -math.log10(1 - p)


def _rank_at(p: float, n: int) -> int:
    """0-based rank of the empirical p-quantile: the ⌈p n⌉-th smallest."""
    return max(0, math.ceil(p * n - 1e-9) - 1)


def tail_curve(sample: LatencySample, top: float) -> Curve:
    """log10 ms over −log10(1 − p); top: the axis' upper end.

    The curve ends where the largest of n calls stands, 1 − 1/n, or leaves by the top at the first miss.

    Rank k of n (from 0) holds for the percentiles above k/n: hence steps, from k/n on.
    """
    n, values = sample.n, sample.measured_ms
    points = [(_tail_x(k / n), log_ms(values[k])) for k in sample.ranks()]
    if sample.missed:
        points.append((_tail_x(len(values) / n), top))
    marks = [
        (_tail_x(p), log_ms(values[_rank_at(p, n)]))
        for p, _ in _TICKS[1:]
        if allowance(n, p) >= 1 and _rank_at(p, n) < len(values)
    ]
    missed = f", {sample.missed:,} missed" if sample.missed else ""
    label = f"{sample.arm}  (n = {n:,}{missed})"
    bounds = tuple(_bound_area(sample, p, top) for p in QUANTILES.values() if allowance(n, p) >= 1)
    visible = tuple(bound for bound in bounds if bound[1] < top)
    return Curve(sample.arm, tuple(points), tuple(marks), label, open_end=bool(sample.missed), bounds=visible)


def _bound_area(sample: LatencySample, p: float, top: float) -> tuple[float, float, float]:
    """From the p-quantile to its upper bound (`statistics.percentile`); missed calls are at the top."""
    low, high = (
        log_ms(sample.measured_ms[rank]) if rank < len(sample.measured_ms) else top
        for rank in (_rank_at(p, sample.n), sample.n - allowance(sample.n, p) - 1)
    )
    return _tail_x(p), low, high


def _tail_panel(samples: list[LatencySample], title: str, looks: dict[str, Look], x: Axis) -> Composed:
    y = log_ms_axis(samples, "ms, log scale")
    curves = tuple(tail_curve(sample, y.high) for sample in samples)
    panel = Panel(curves, x, y, _WIDTH, 270, title, stepped=True, leaders=True)
    return draw(panel, looks, rule(log_ms(MISSION_MS), "mission: 200 ms", panel))


def tail_latency(
    quantum: list[LatencySample], added: list[LatencySample], looks: dict[str, Look], subtitle: Sequence[str]
) -> Composed:
    """Latency against percentile, an arm a line: quantum_latency above, added_latency below."""
    longest = max((sample.n for sample in [*quantum, *added]), default=1)
    high = max(2.0, math.log10(longest))
    ticks = [(_tail_x(p), words) for p, words in _TICKS if _tail_x(p) <= high + 1e-9]
    x = Axis(0.0, high, tuple(t for t, _ in ticks), tuple(w for _, w in ticks), "percentile of calls")
    panels = [
        _tail_panel(samples, title, looks, x)
        for samples, title in (
            (quantum, "quantum_latency: scheduled instant to decoded samples"),
            (added, "added_latency: the training thread blocked"),
        )
        if samples
    ]
    return with_title(stack(panels, spacing=34), "Tail latency", subtitle)


def _steps(sample: LatencySample, x: Axis) -> Curve:
    """Share of all calls answered within x; with misses, flat from the last samples to the deadline."""
    n, values = sample.n, sample.measured_ms
    points = [(log_ms(values[k]), (k + 1) / n) for k in sample.ranks()]
    points.insert(0, (points[0][0] if points else x.low, 0.0))
    ceiling = log_ms(sample.ceiling_ms) if sample.ceiling_ms else x.high
    if sample.missed:
        points.append((max(points[-1][0], min(ceiling, x.high)), len(values) / n))
    shares = [share for share in (0.25, 0.5, 0.75) if _rank_at(share, n) < len(values)]
    marks = [(log_ms(values[_rank_at(share, n)]), (_rank_at(share, n) + 1) / n) for share in shares]
    label = f"{sample.arm}  ({len(values):,} of {n:,})"
    return Curve(sample.arm, tuple(points), tuple(marks), label)


@dataclass(frozen=True, slots=True)
class ChartText:
    """What a distribution is of, and the limit drawn in it, ms with its words."""

    title: str
    latency: str
    limit: tuple[float, str]


_QUANTUM = ChartText(
    "Share of calls with samples, by time", "quantum_latency", (MISSION_MS, "mission: 200 ms")
)


def distribution(
    samples: list[LatencySample], looks: dict[str, Look], subtitle: Sequence[str], text: ChartText = _QUANTUM
) -> Composed:
    """ECDF of a latency, quantum_latency's by default: calls without one keep a line below 100 %."""
    limit_ms, words = text.limit
    x = log_ms_axis(samples, f"{text.latency}, ms, log scale", limit_ms)
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    y = Axis(0.0, 1.02, shares, tuple(round_percent(share) for share in shares), "share of calls")
    curves = tuple(_steps(sample, x) for sample in samples)
    panel = Panel(curves, x, y, _WIDTH, 280, "", stepped=True)
    chart = draw(panel, looks, rule(log_ms(limit_ms), words, panel, vertical=True))
    return with_title(chart, text.title, subtitle)
