"""The first screen's first chart: what a call adds to an iteration, by fabric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from shotclock.bench.numbers import NOTHING, limit_ms, ms, number
from shotclock.bench.record.arm_runs import BASELINE, HYBRID
from shotclock.bench.report.kit.arm_styles import INK
from shotclock.bench.report.kit.axes import logarithmic
from shotclock.bench.report.kit.compose import Composed, lay_over
from shotclock.bench.report.kit.grid import Cell, Grid, plain
from shotclock.bench.report.kit.latency_samples import MISSION_MS
from shotclock.bench.report.kit.panel import Axis, Row, data, with_title
from shotclock.bench.report.kit.wording import QUANTILES, quantile
from shotclock.bench.schema import Latency, Percentile, Summary
from shotclock.domain.stages import Stage

_LATENCY_PX, _ROW_PX = 560, 24
_LEAST_MS, _ROOM = 1.0, 1.7
LATENCY_TITLE = "What a call adds to an iteration"
LATENCY_LEGEND = (
    "diamond mean, circle p50, triangle p95, square p99; whisker: upper bound; shaded: specification"
)
_SHAPES = {"mean": "diamond", "p50": "circle", "p95": "triangle-up", "p99": "square"}
REFERENCE_MS = {"mean": 120.0, "p95": 150.0}
"""The specification's classical iteration of a medium model."""
REFERENCE_P99_MS = (150.0, 300.0)
"""The specification's p99 of a co-located call, given as a range beside mean and p95."""


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """A row of the first chart.

    name: what the row is of.
    marks: milliseconds by statistic, only where there are samples enough.
    reaches: from the p99, or the largest statistic there is, to its upper bound.
    ranges: the specification's, milliseconds.
    note: the figures as text, or why they are missing.
    """

    name: str
    marks: dict[str, float]
    reaches: tuple[tuple[float, float], ...]
    ranges: tuple[tuple[float, float], ...]
    note: str


def find_latency_rows(summary: Summary) -> list[LatencyRow]:
    """The classical iterations first, then each hybrid arm; empty without a hybrid arm's call."""
    fabrics = [_fabric_row(summary, name) for name in summary.arms if name.startswith(HYBRID)]
    rows = [row for row in fabrics if row is not None]
    return [*_iteration_rows(summary), *rows] if rows else []


def _iteration_rows(summary: Summary) -> list[LatencyRow]:
    reference = "reference iteration (specification)"
    note = ", ".join(f"{name} {limit_ms(value)}" for name, value in REFERENCE_MS.items())
    rows = [LatencyRow(reference, REFERENCE_MS, (), (), note)]
    if (measured := summary.representative_iteration) is not None:
        name = f"classical iteration, {measured.workload}"
        note = f"mean {ms(measured.mean_ms)} ms, {measured.n} iterations here"
        rows.append(LatencyRow(name, {"mean": measured.mean_ms}, (), (), note))
    plain_steps = summary.metrics.get(f"{BASELINE}.{Stage.TOTAL_ITERATION_TIME}")
    if isinstance(plain_steps, Latency) and plain_steps.mean is not None:
        name = f"classical iteration, {summary.workload}"
        rows.append(LatencyRow(name, *_statistics(plain_steps), (), _word(plain_steps)))
    return rows


def _fabric_row(summary: Summary, arm: str) -> LatencyRow | None:
    added = summary.metrics.get(f"{arm}.added_latency")
    if not isinstance(added, Latency) or not added.n:
        return None
    profile = None if summary.arms[arm].protected else summary.profiles.get(summary.arms[arm].profile or "")
    ranges = [profile.sanity_mean_ms, profile.sanity_p95_ms] if profile else []
    if profile and profile.sanity_p95_ms:
        ranges.append(REFERENCE_P99_MS)
    known_ranges = tuple(each for each in ranges if each is not None)
    is_virtual = "virtual" in {summary.arms[arm].clock, summary.clock}
    note = f"{_word(added)}; VIRTUAL CLOCK" if is_virtual else _word(added)
    return LatencyRow(f"{arm}, added", *_statistics(added), known_ranges, note)


def _statistics(latency: Latency) -> tuple[dict[str, float], tuple[tuple[float, float], ...]]:
    marks: dict[str, float] = {}
    reaches: list[tuple[float, float]] = []
    for name in QUANTILES:
        percentile = latency.percentiles.get(name)
        if isinstance(percentile, Percentile) and percentile.value is not None:
            marks[name] = percentile.value
            if percentile.upper_bound is not None:
                reaches.append((percentile.value, percentile.upper_bound))
    if not marks and latency.mean is not None:
        marks["mean"] = latency.mean
    return marks, tuple(reaches[-1:])


def _word(latency: Latency) -> str:
    """`p50 131, p95 140, p99 too few (n=90)`, in ms; the mean where no percentile has samples enough."""
    words_of = [(name, quantile(latency, name)[0]) for name in QUANTILES]
    shown = [f"{name} {value}" for name, value in words_of if not value.startswith("too few")]
    few = [name for name, value in words_of if value.startswith("too few")]
    if not shown and latency.mean is not None:
        shown = [f"mean {ms(latency.mean)}"]
    figures = f"{', '.join(shown)} ms" if shown else ""
    missing = f"{'/'.join(few)} too few (n={latency.n:,})" if few else ""
    return "; ".join(part for part in (figures, missing) if part)


def draw_latency(rows: Sequence[LatencyRow], subtitle: Sequence[str]) -> Composed:
    """A row each on one logarithmic axis, the gate's limit across, the specification's ranges shaded."""
    axis = span_latencies(rows)
    order = [row.name for row in rows]
    x = encode_x(axis)
    y = alt.Y(
        "row:N",
        sort=order,
        scale=alt.Scale(domain=order),
        axis=alt.Axis(title=None, labelLimit=260, labelFontSize=12, ticks=False, domain=False),
    )
    limit: Row = {"x": math.log10(MISSION_MS)}
    line = alt.Chart(data([limit]))
    layers = [
        line.mark_rule(color=INK, strokeWidth=1.2, strokeDash=[2, 2]).encode(x=x),
        line.mark_text(fontSize=11, fontStyle="italic", color=INK).encode(
            x=x, y=alt.value(-6), text=alt.value(f"{limit_ms(MISSION_MS)} limit")
        ),
        *mark_latencies(rows, axis, y),
        _write_notes(rows, y),
    ]
    chart = lay_over(layers, width=_LATENCY_PX, height=_ROW_PX * len(rows))
    return with_title(chart, LATENCY_TITLE, [*subtitle, LATENCY_LEGEND])


def span_latencies(rows: Sequence[LatencyRow]) -> Axis:
    """The logarithmic axis that holds every row and the gate's limit."""
    values = [value for row in rows for value in row.marks.values()]
    values += [end for row in rows for pair in (*row.reaches, *row.ranges) for end in pair]
    low = min(_LEAST_MS, *(value for value in values if value > 0))
    return logarithmic(max(low, 0.01), _ROOM * max(*values, MISSION_MS), "ms, log scale")


def encode_x(axis: Axis) -> alt.X:
    """The x channel of every layer on this axis."""
    scale = alt.Scale(domain=[axis.low, axis.high], nice=False, zero=False)
    return alt.X("x:Q", scale=scale, axis=axis.encode())


def _shade(rows: Sequence[LatencyRow], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    shaded: list[Row] = [
        {"row": row.name, "x": math.log10(low), "x2": math.log10(high)}
        for row in rows
        for low, high in row.ranges
    ]
    if not shaded:
        return []
    bars = alt.Chart(data(shaded)).mark_bar(fill=INK, fillOpacity=0.12, stroke=INK, strokeWidth=0.6)
    return [bars.encode(x=x, x2=alt.X2("x2:Q"), y=y)]


def mark_latencies(rows: Sequence[LatencyRow], axis: Axis, y: alt.Y) -> list[alt.Chart]:
    """The specification's ranges, upper bounds and statistics; y: a channel of the rows' names."""
    x = encode_x(axis)

    def place(value_ms: float) -> float:
        return max(axis.low, math.log10(max(value_ms, 1e-6)))

    reaches: list[Row] = [
        {"row": row.name, "x": place(start), "x2": place(end)} for row in rows for start, end in row.reaches
    ]
    marks: list[Row] = [
        {"row": row.name, "x": place(value), "name": name}
        for row in rows
        for name, value in row.marks.items()
    ]
    layers = _shade(rows, x, y)
    if reaches:
        whiskers = alt.Chart(data(reaches)).mark_rule(color=INK, strokeWidth=1.4)
        layers.append(whiskers.encode(x=x, x2=alt.X2("x2:Q"), y=y))
    names, shapes = list(_SHAPES), list(_SHAPES.values())
    shape = alt.Shape("name:N", legend=None, scale=alt.Scale(domain=names, range=shapes))
    points = alt.Chart(data(marks)).mark_point(size=58, filled=True, fill=INK, stroke=INK, opacity=1)
    return [*layers, points.encode(x=x, y=y, shape=shape)]


def _write_notes(rows: Sequence[LatencyRow], y: alt.Y) -> alt.Chart:
    notes: list[Row] = [{"row": row.name, "words": row.note} for row in rows]
    text = alt.Chart(data(notes)).mark_text(align="left", dx=8, fontSize=11, color=INK)
    drawn: alt.Chart = text.encode(x=alt.value(_LATENCY_PX), y=y, text=alt.Text("words:N"))
    return drawn


def tabulate_latency(rows: Sequence[LatencyRow]) -> Grid:
    """The marks in print."""
    cells = [
        (row.name, *(Cell(number(row.marks[name])) if name in row.marks else NOTHING for name in _SHAPES))
        for row in rows
    ]
    return plain("Time of an iteration, and what a call adds to it, ms", ("", *_SHAPES), cells)
