"""A metric's course as a chart: a point a run, a line a level, a named rule where the level moved."""

from __future__ import annotations

from dataclasses import replace

import altair as alt

from shotclock.bench.history.trends import Trend, worse
from shotclock.bench.numbers import percent, round_percent
from shotclock.bench.report.kit.arm_styles import INK, looks
from shotclock.bench.report.kit.axes import linear
from shotclock.bench.report.kit.compose import Composed
from shotclock.bench.report.kit.panel import Axis, Curve, Panel, Row, data, draw, rule, with_title
from shotclock.bench.report.kit.wording import mark_emulated
from shotclock.domain.plural import count

_WIDTH, _HEIGHT, _TICKS = 620, 150, 6
_LINE_PX, _LINES = 13, 4


def course(trend: Trend) -> Composed:
    """The whole chart. Runs are spaced evenly, in order; the axis shows some runs' dates."""
    order = sorted({(p.started_at, p.run_id) for series in trend.series for p in series.points})
    place = {run_id: number for number, (_, run_id) in enumerate(order)}
    x = _x([started for started, _ in order])
    y = _y(trend)
    curves = []
    rules: list[alt.Chart] = []
    levels: list[Row] = []
    number = 0
    for series in trend.series:
        points = tuple((float(place[point.run_id]), point.value) for point in series.points)
        runs = count(len(points), "run")
        curves.append(Curve(series.name, points, points, f"{series.name}  ({runs})"))
        edges = [0, *(change.index for change in series.changes), len(points)]
        medians = [series.changes[0].before, *(c.after for c in series.changes)] if series.changes else []
        for start, stop, level in zip(edges[:-1], edges[1:], medians, strict=bool(medians)):
            levels.append({"x": points[start][0], "x2": points[stop - 1][0], "y": level})
        for change in series.changes:
            at = points[change.index][0] - 0.5
            ratio = change.ratio
            moved = f"{change.after - change.before:+.3g}" if ratio is None else _format_signed(ratio)
            words = f"{moved}, {'worse' if worse(trend, change) else 'better'}"
            # labels of neighbouring changes are on separate lines
            lift = _LINE_PX * (number % _LINES)
            frame = Panel((), x, y, _WIDTH, _HEIGHT, "", stepped=False)
            rules += rule(at, words, frame, vertical=True, lift_px=lift)
            number += 1
    if levels:
        line = alt.Chart(data(levels)).mark_rule(color=INK, strokeWidth=5, opacity=0.18)
        rules.append(line.encode(x=alt.X("x:Q"), x2=alt.X2("x2:Q"), y=alt.Y("y:Q")))
    panel = Panel(tuple(curves), x, y, _WIDTH, _HEIGHT, "", stepped=False)
    chart = draw(panel, looks([curve.arm for curve in curves]), rules)
    better = "lower is better" if trend.direction == "lower" else "higher is better"
    return with_title(chart, trend.metric, [f"{mark_emulated(trend.is_emulated, trend.clock)}: {better}"])


def _format_signed(ratio: float) -> str:
    return f"{'+' if ratio > 0 else '−'}{percent(abs(ratio))}"


def _x(started: list[str]) -> Axis:
    last = len(started) - 1
    step = max(1, -(-last // _TICKS))
    ticks = list(range(0, last + 1, step))
    words = tuple(started[tick][5:16].replace("T", " ") for tick in ticks)
    return Axis(-0.5, last + 0.5, tuple(float(tick) for tick in ticks), words, "runs in their order, UTC")


def _y(trend: Trend) -> Axis:
    """From 0 if that does not flatten the curve, so that a step looks as large as it is."""
    values = [point.value for series in trend.series for point in series.points]
    low, high = min(values), max(values)
    room = 0.15 * (high - low) or 0.1 * abs(high) or 1.0
    start = 0.0 if 0 <= low <= 0.5 * high else low - room
    stop = high + room
    if trend.unit == "ratio":
        start, stop = max(start, -0.02), min(stop, 1.02)
    if trend.unit == "ratio":
        axis = linear(start, stop, 4, "share")
        return replace(axis, words=tuple(round_percent(tick) for tick in axis.ticks))
    return linear(start, stop, 4, "" if trend.unit == "1" else trend.unit)
