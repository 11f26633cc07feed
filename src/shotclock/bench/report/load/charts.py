"""The charts of a load test: load against latency, latency over time, and who answered how fast."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shotclock.bench.load.records import CLASSES, CallRecord
from shotclock.bench.load.schema import LoadRun, LoadSummary, Quantile
from shotclock.bench.numbers import ms, number
from shotclock.bench.report.kit.arm_styles import looks
from shotclock.bench.report.kit.compose import Composed
from shotclock.bench.report.kit.figure import Figure
from shotclock.bench.report.kit.grid import Cell, Grid, plain
from shotclock.bench.report.kit.heat_map import Heat, Instant, heat_map
from shotclock.bench.report.kit.latency_samples import LatencySample, log_ms, log_ms_axis
from shotclock.bench.report.kit.over_time import over_time_grid
from shotclock.bench.report.kit.panel import Axis, Curve, Panel, draw, rule, with_title
from shotclock.bench.report.kit.tails import ChartText, distribution
from shotclock.bench.report.kit.wording import SYMBOLS
from shotclock.bench.report.load.wording import mark_of_load, select_gated_tail, tail_words
from shotclock.bench.schema import Percentile
from shotclock.domain.budget import NS_PER_MS, NS_PER_S

_WIDTH, _HEIGHT = 560, 300
_DRAWN: tuple[Quantile, ...] = ("p50", "p90", "p99")
_LIMITS = (0.1, 0.25, 0.5, 1.0, 2.0)
"""Of the deadline: where the table beside the distribution counts."""
_STICK = (
    "How the tail answers to load: a point a rate, of the last valid run there. Too few calls for a "
    "percentile leave no point; where it lies among the misses its line leaves by the top (arrow). "
    "Both axes are logarithmic."
)
_CLASSES = (
    "How soon calls were answered, with a line for each kind of answer: further left and higher is better. "
    "All lines count against all calls, so that where one ends is the share of calls it answered."
)
_TIME = (
    "What a percentile hides: one stall is a stripe here, a queue that grows a slope. The stronger the "
    "ink, the more calls; calls without any answer are in the strip above."
)


def figures(summary: LoadSummary, calls: Sequence[CallRecord]) -> list[Figure]:
    """What can be drawn: the quoted run over time and by class and, of a sweep, load against latency."""
    if not calls:
        return []
    quoted = [call for call in calls if call.run == summary.quoted]
    drawings = []
    if len({run.rate_per_s for run in summary.runs}) > 1:
        title = "Load against latency"
        drawings.append(Figure("load_against_latency", title, _STICK, _hockey_stick(summary), rates(summary)))
    classes = _classes(quoted)
    if classes:
        chart = _by_class(summary, classes)
        title = "Share of all calls answered, by time and by whom"
        drawings.append(
            Figure("latency_by_class", title, _CLASSES, chart, within(classes, summary.deadline_ms))
        )
    instants = _instants(quoted)
    chart = _over_time(summary, instants)
    drawings.append(Figure("latency_over_time", "Latency over time", _TIME, chart, over_time_grid(instants)))
    return drawings


def _subtitle(summary: LoadSummary, run: LoadRun | None = None) -> list[str]:
    state = "" if summary.status == "complete" else f", {summary.status.upper()}"
    at = "" if run is None else f" at {number(run.offered_per_s)} calls/s, {run.calls:,} calls"
    lines = [
        f"{mark_of_load(summary)}{state}: {summary.scenario}{at}, {summary.request_label}; {summary.run_id}"
    ]
    if run is not None:
        lines += [f"INVALID: {fault}" for fault in run.faults]
    return lines


def _deadline(summary: LoadSummary) -> tuple[float, str]:
    return summary.deadline_ms, f"deadline: {ms(summary.deadline_ms)} ms"


def _instants(calls: Sequence[CallRecord]) -> list[Instant]:
    """Calls with any answer have a latency; those without one are misses."""
    return [
        Instant(call.scheduled_ns / NS_PER_S, call.latency_ns / NS_PER_MS if call.is_answered else None)
        for call in calls
    ]


def _over_time(summary: LoadSummary, instants: Sequence[Instant]) -> Composed:
    measured = sorted(instant.latency_ms for instant in instants if instant.latency_ms is not None)
    sample = LatencySample("", tuple(measured), len(instants) - len(measured), None)
    y = log_ms_axis([sample], "latency, ms, log scale", summary.deadline_ms)
    heat = Heat("Latency over time", "scheduled instant, s", instants, y, _deadline(summary))
    return heat_map(heat, _subtitle(summary, summary.runs[summary.quoted]))


def _classes(calls: Sequence[CallRecord]) -> list[LatencySample]:
    """Each class that answered any call, over all calls: the others are its misses."""
    samples = []
    for kind in CLASSES:
        latencies = sorted(call.latency_ns / NS_PER_MS for call in calls if call.answered_by == kind)
        if latencies and kind != "unanswered":
            samples.append(LatencySample(kind, tuple(latencies), len(calls) - len(latencies), None))
    return samples


def _by_class(summary: LoadSummary, samples: list[LatencySample]) -> Composed:
    text = ChartText("Share of all calls answered, by time and by whom", "latency", _deadline(summary))
    faces = looks([sample.arm for sample in samples])
    return distribution(samples, faces, _subtitle(summary, summary.runs[summary.quoted]), text)


def within(samples: Sequence[LatencySample], deadline_ms: float) -> Grid:
    """Calls of each class answered within shares of the deadline."""
    limits = [share * deadline_ms for share in _LIMITS]
    rows: list[tuple[str | Cell, ...]] = [
        (
            Cell(sample.arm, look="code"),
            *(f"{sum(value <= limit for value in sample.measured_ms):,}" for limit in limits),
            f"{len(sample.measured_ms):,}",
        )
        for sample in samples
    ]
    head = ("answered by", *(f"≤ {ms(limit)} ms" for limit in limits), "in all")
    return plain("Calls answered within", head, rows)


def rates(summary: LoadSummary) -> Grid:
    """The drawn percentiles, a row a rate."""
    last = {run.rate_per_s: run for run in summary.runs if not run.faults}
    rows = [
        (
            f"{number(rate)}/s",
            f"{run.calls:,}",
            *(tail_words(select_gated_tail(summary, run), name) for name in _DRAWN),
            f"{SYMBOLS[run.result]} {run.result}",
        )
        for rate, run in sorted(last.items())
    ]
    return plain("The last valid run of each rate", ("rate", "calls", *_DRAWN, "deadline"), rows)


def _hockey_stick(summary: LoadSummary) -> Composed:
    """Quantiles against the offered rate, of what counts; a line leaves by the top where it is a miss."""
    curves, values = [], [summary.deadline_ms]
    points = {name: _points(summary, name) for name in _DRAWN}
    values += [value for rate_points in points.values() for _, value in rate_points if value is not None]
    rates = [run.rate_per_s for run in summary.runs]
    x = _rate_axis(min(rates), max(rates))
    counted = "with samples" if summary.basis == "quantum" else "of any answer"
    shown = LatencySample("", tuple(sorted(values)), 0, None)
    y = log_ms_axis([shown], f"latency {counted}, ms, log scale", summary.deadline_ms)
    for name, rate_points in points.items():
        measured = [(math.log10(rate), log_ms(value)) for rate, value in rate_points if value is not None]
        missed = [math.log10(rate) for rate, value in rate_points if value is None]
        line = [*measured, (missed[0], y.high)] if missed and measured else measured
        if line:
            curves.append(Curve(name, tuple(line), tuple(measured), name, open_end=bool(missed and measured)))
    panel = Panel(tuple(curves), x, y, _WIDTH, _HEIGHT, "", stepped=False, leaders=True)
    limit_ms, words = _deadline(summary)
    rules = rule(log_ms(limit_ms), words, panel)
    if summary.knee is not None and summary.knee.met_per_s is not None:
        met = summary.knee.met_per_s
        rules += rule(math.log10(met), f"knee: {number(met)}/s", panel, vertical=True)
    chart = draw(panel, looks([curve.arm for curve in curves]), rules)
    return with_title(chart, "Load against latency", _subtitle(summary))


def _points(summary: LoadSummary, name: Quantile) -> list[tuple[float, float | None]]:
    """(rate, ms) in ascending order, the last run of a rate; None is a miss; too few samples are left out."""
    last = {run.rate_per_s: run for run in summary.runs if not run.faults}
    points: list[tuple[float, float | None]] = []
    for rate in sorted(last):
        run = last[rate]
        percentile = select_gated_tail(summary, run).percentiles[name]
        if isinstance(percentile, Percentile):
            points.append((rate, percentile.value))
    return points


def _rate_axis(low: float, high: float) -> Axis:
    start, stop = math.log10(low) - 0.05, math.log10(high) + 0.05
    decades = range(math.floor(start), math.ceil(stop) + 1)
    steps = (1, 2, 5) if stop - start > 1 else (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
    ticks = tuple(t for d in decades for m in steps if start <= (t := d + math.log10(m)) <= stop)
    return Axis(
        start, stop, ticks, tuple(f"{10**t:,.6g}" for t in ticks), "offered calls per second, log scale"
    )
