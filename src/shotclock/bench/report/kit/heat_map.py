"""Latency over time as a heat map: what a percentile hides, such as one stall, is a stripe in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from shotclock.bench.report.kit.arm_styles import INK
from shotclock.bench.report.kit.compose import Composed, lay_over, stack
from shotclock.bench.report.kit.latency_samples import log_ms
from shotclock.bench.report.kit.panel import Axis, Panel, Row, data, rule, with_title

_COLUMNS, _ROWS = 72, 40
_WIDTH, _HEIGHT = 680, 280
_FEW, _MANY = 0.25, 1.0
"""How strong the ink is: the page's own, so that many calls stand out in the dark and in print too."""
_MISSED_PX = 14


@dataclass(frozen=True, slots=True)
class Instant:
    """A call: when it was due, seconds, and what it took, ms; None is a miss."""

    at_s: float
    latency_ms: float | None


@dataclass(frozen=True, slots=True)
class Heat:
    """What a map is of.

    title: above the map.
    time: what its x axis is.
    calls: the calls, misses included.
    y: the axis of latency, log10 of ms.
    limit: ms, with its words.
    """

    title: str
    time: str
    calls: Sequence[Instant]
    y: Axis
    limit: tuple[float, str]


def heat_map(heat: Heat, subtitle: Sequence[str]) -> Composed:
    """Calls by when they were due and how long they took; misses in a strip above."""
    end_s = max((call.at_s for call in heat.calls), default=1.0) or 1.0
    x_scale = alt.Scale(domain=[0, end_s], nice=False)
    x = alt.X("x:Q", scale=x_scale, axis=alt.Axis(title=heat.time, grid=False))
    y_scale = alt.Scale(domain=[heat.y.low, heat.y.high], nice=False, zero=False)
    cells, missed = _cells(heat, end_s)
    most = max((int(cell["calls"]) for cell in [*cells, *missed]), default=1)
    ink = alt.Opacity(
        "calls:Q",
        scale=alt.Scale(type="log", domain=[1, max(2, most)], range=[_FEW, _MANY]),
        legend=alt.Legend(
            title="calls",
            values=sorted({1, round(max(2, most) ** 0.5), max(2, most)}),
            format=",d",
            labelColor=INK,
            titleColor=INK,
            symbolFillColor=INK,
            symbolStrokeColor="transparent",
            symbolType="square",
        ),
    )
    frame = Panel((), Axis(0, end_s, (), (), ""), heat.y, _WIDTH, _HEIGHT, "", stepped=False)
    limit_ms, words = heat.limit
    body = lay_over(
        [
            alt.Chart(data(cells))
            .mark_rect(color=INK)
            .encode(
                x=x,
                x2=alt.X2("x2:Q"),
                y=alt.Y("y:Q", scale=y_scale, axis=heat.y.encode()),
                y2=alt.Y2("y2:Q"),
                opacity=ink,
            ),
            *rule(log_ms(limit_ms), words, frame),
        ],
        width=_WIDTH,
        height=_HEIGHT,
    )
    chart: Composed = body
    if missed:
        strip = (
            alt.Chart(data(missed))
            .mark_rect(color=INK)
            .encode(
                x=alt.X("x:Q", scale=x_scale, axis=None),
                x2=alt.X2("x2:Q"),
                y=alt.Y("row:N", axis=alt.Axis(title=None, labelColor=INK, ticks=False, domain=False)),
                opacity=ink,
            )
            .properties(width=_WIDTH, height=_MISSED_PX)
        )
        chart = stack([strip, body], spacing=6)
    return with_title(chart, heat.title, subtitle)


def _cells(heat: Heat, end_s: float) -> tuple[list[Row], list[Row]]:
    span = heat.y.high - heat.y.low
    counted: Counter[tuple[int, int]] = Counter()
    missed: Counter[int] = Counter()
    for call in heat.calls:
        column = min(_COLUMNS - 1, int(call.at_s / end_s * _COLUMNS))
        if call.latency_ms is None:
            missed[column] += 1
        else:
            place = int((log_ms(call.latency_ms) - heat.y.low) / span * _ROWS)
            counted[column, min(_ROWS - 1, max(0, place))] += 1
    width, height = end_s / _COLUMNS, span / _ROWS
    cells: list[Row] = [
        {
            "x": column * width,
            "x2": (column + 1) * width,
            "y": heat.y.low + place * height,
            "y2": heat.y.low + (place + 1) * height,
            "calls": count,
        }
        for (column, place), count in counted.items()
    ]
    strip: list[Row] = [
        {"x": column * width, "x2": (column + 1) * width, "row": "missed", "calls": count}
        for column, count in missed.items()
    ]
    return cells, strip
