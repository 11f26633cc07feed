"""A panel of one line an arm, named at its right edge: what the tail, ECDF and loss charts are made of.

Scales are linear over values that callers have already transformed: so labels can be placed in data
units, outside the plot too, and a tick may read whatever it should ("99.9 %" at 3).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import altair as alt

from shotclock.bench.report.kit.arm_styles import FONT, INK, Look
from shotclock.bench.report.kit.compose import Composed, lay_over

LABEL_GAP_PX = 15.0
LABEL_AT_PX = 34.0


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear axis from low to high, with its ticks and what they read.

    low, high: its ends, in axis units.
    ticks: where they are, in axis units.
    words: what each tick reads.
    title: of the axis; "" without one.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    words: tuple[str, ...]
    title: str

    def encode(self, *, words: bool = True) -> dict[str, Any]:
        """Vega-Lite's axis; without `words` only the grid, for a panel beside one that has them.

        Not Altair's class: its hundred empty fields are copied whenever charts are laid together.
        """
        expression = f"{json.dumps(self.words)}[indexof({json.dumps(self.ticks)}, datum.value)]"
        return {
            "title": self.title if words else None,
            "values": tuple(self.ticks),
            # without it Vega drops every other tick of an axis that is short for them
            "tickCount": len(self.ticks),
            "labels": words,
            "labelExpr": expression,
        }


@dataclass(frozen=True, slots=True)
class Curve:
    """One arm's line, in axis units.

    arm: whose colour, dash and shape it has.
    points: (x, y) of the line; empty draws none.
    marks: (x, y) of symbols on it.
    label: what is written at its end.
    band: (x, low, high) about it.
    open_end: it leaves by the top edge.
    bounds: (x, from, to) of upper bounds drawn on the line.
    """

    arm: str
    points: tuple[tuple[float, float], ...]
    marks: tuple[tuple[float, float], ...]
    label: str
    band: tuple[tuple[float, float, float], ...] = ()
    open_end: bool = False
    bounds: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """What a panel draws and how large, px.

    curves: the lines.
    x, y: the axes.
    width, height: of the area they span, px.
    title: above it; "" without one.
    stepped: a value holds until the next.
    labelled: names at the right edge.
    leaders: thin lines from the curves' ends to their names.
    y_words: the y axis is read here and not in a neighbour.
    """

    curves: tuple[Curve, ...]
    x: Axis
    y: Axis
    width: int
    height: int
    title: str
    stepped: bool
    labelled: bool = True
    leaders: bool = False
    y_words: bool = True


Row = dict[str, str | float]
"""What a whole figure may be."""


def spread(preferred: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions at least `gap` apart, as near the wanted ones as can be, in their order, inside low..high.

    Less `gap` for each label below it, a position may not fall: isotonic regression by pooling neighbours.
    """
    order = sorted(range(len(preferred)), key=lambda i: preferred[i])
    pools: list[list[float]] = []
    for rank, i in enumerate(order):
        pools.append([preferred[i] - rank * gap])
        while len(pools) > 1 and fmean(pools[-2]) > fmean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    flat = [fmean(pool) for pool in pools for _ in pool]
    highest = max(low, high - (len(preferred) - 1) * gap)
    placed = dict(zip(order, flat, strict=True))
    return [min(max(placed[i], low), highest) + order.index(i) * gap for i in range(len(preferred))]


def _ends(panel: Panel) -> list[Row]:
    drawn = [curve for curve in panel.curves if curve.points]
    per_px = (panel.y.high - panel.y.low) / panel.height
    ends = [panel.y.high if curve.open_end else curve.points[-1][1] for curve in drawn]
    heights = spread(ends, LABEL_GAP_PX * per_px, panel.y.low, panel.y.high)
    right = panel.x.high + LABEL_AT_PX * (panel.x.high - panel.x.low) / panel.width
    sample = panel.x.high + 10 * (panel.x.high - panel.x.low) / panel.width
    return [
        {
            "arm": curve.arm,
            "label": curve.label,
            "x": curve.points[-1][0],
            "y": end,
            "label_x": right,
            "sample_x": sample,
            "middle_x": (right + sample) / 2,
            "label_y": height,
            "open_end": float(curve.open_end),
        }
        for curve, end, height in zip(drawn, ends, heights, strict=True)
    ]


class _Encodings:
    """The channels all layers of one panel share."""

    def __init__(self, panel: Panel, looks: dict[str, Look]) -> None:
        # Every arm of the run, drawn here or not: panels shown together share these scales.
        arms, faces = list(looks), list(looks.values())
        x_scale = alt.Scale(domain=[panel.x.low, panel.x.high], nice=False, zero=False)
        y_scale = alt.Scale(domain=[panel.y.low, panel.y.high], nice=False, zero=False)
        self.x = alt.X("x:Q", scale=x_scale, axis=panel.x.encode())
        self.y = alt.Y("y:Q", scale=y_scale, axis=panel.y.encode(words=panel.y_words))
        self.colour = alt.Color(
            "arm:N", legend=None, scale=alt.Scale(domain=arms, range=[f.colour for f in faces])
        )
        self.dash = alt.StrokeDash(
            "arm:N", legend=None, scale=alt.Scale(domain=arms, range=[list(f.dash) for f in faces])
        )
        self.shape = alt.Shape(
            "arm:N", legend=None, scale=alt.Scale(domain=arms, range=[f.shape for f in faces])
        )


def data(rows: Sequence[Row]) -> alt.Data:
    """Rows as inline data: nothing is fetched."""
    # a tuple: Altair copies lists with every entry whenever a chart is laid over or beside another
    return alt.Data(values=tuple(rows))  # type: ignore[no-untyped-call]


def _curves(panel: Panel, use: _Encodings) -> list[alt.Chart]:
    rows: list[Row] = [{"arm": curve.arm, "x": x, "y": y} for curve in panel.curves for x, y in curve.points]
    bands: list[Row] = [
        {"arm": curve.arm, "x": x, "y": low, "high": high}
        for curve in panel.curves
        for x, low, high in curve.band
    ]
    marks: list[Row] = [{"arm": curve.arm, "x": x, "y": y} for curve in panel.curves for x, y in curve.marks]
    chart = alt.Chart(data(rows))
    line = chart.mark_line(interpolate="step-after" if panel.stepped else "linear", strokeWidth=1.6)
    layers = []
    if bands:
        area = alt.Chart(data(bands)).mark_area(opacity=0.1, line=False)
        layers.append(area.encode(x=use.x, y=use.y, y2=alt.Y2("high:Q"), color=use.colour))
    layers.append(
        line.encode(x=use.x, y=use.y, color=use.colour, strokeDash=use.dash, detail=alt.Detail("arm:N"))
    )
    if marks:
        point = alt.Chart(data(marks)).mark_point(size=38, filled=True, opacity=1)
        layers.append(point.encode(x=use.x, y=use.y, color=use.colour, shape=use.shape))
    return layers


def _bounds(panel: Panel, use: _Encodings) -> list[alt.Chart]:
    rows: list[Row] = [
        {"arm": curve.arm, "x": x, "y": low, "high": high}
        for curve in panel.curves
        for x, low, high in curve.bounds
    ]
    if not rows:
        return []
    base = alt.Chart(data(rows))
    reach = base.mark_rule(strokeWidth=1.4, opacity=1)
    cap = base.mark_tick(thickness=1.4, size=10, opacity=1, orient="horizontal")
    return [
        reach.encode(x=use.x, y=use.y, y2=alt.Y2("high:Q"), color=use.colour),
        cap.encode(x=use.x, y=alt.Y("high:Q"), color=use.colour),
    ]


def _names(panel: Panel, use: _Encodings) -> list[alt.Chart]:
    rows = _ends(panel)
    if not rows:
        return []
    base = alt.Chart(data(rows))
    leader = base.transform_filter("!datum.open_end").mark_rule(strokeWidth=0.6, opacity=0.35, color=INK)
    leader = leader.encode(x=alt.X("x:Q"), x2=alt.X2("sample_x:Q"), y=alt.Y("y:Q"), y2=alt.Y2("label_y:Q"))
    sample = base.mark_rule(strokeWidth=1.6).encode(
        x=alt.X("sample_x:Q"),
        x2=alt.X2("label_x:Q"),
        y=alt.Y("label_y:Q"),
        color=use.colour,
        strokeDash=use.dash,
    )
    point = base.mark_point(size=38, filled=True, opacity=1).encode(
        x=alt.X("middle_x:Q"), y=alt.Y("label_y:Q"), color=use.colour, shape=use.shape
    )
    text = base.mark_text(align="left", dx=5, fontSize=11, color=INK).encode(
        x=alt.X("label_x:Q"), y=alt.Y("label_y:Q"), text=alt.Text("label:N")
    )
    return [*([leader] if panel.leaders else []), sample, point, text]


def _departures(panel: Panel, use: _Encodings) -> list[alt.Chart]:
    rows: list[Row] = [
        {"arm": curve.arm, "x": curve.points[-1][0], "y": panel.y.high}
        for curve in panel.curves
        if curve.open_end and curve.points
    ]
    if not rows:
        return []
    arrow = alt.Chart(data(rows)).mark_point(shape="arrow", size=160, filled=True, opacity=1, yOffset=-6)
    return [arrow.encode(x=alt.X("x:Q"), y=alt.Y("y:Q"), color=use.colour)]


def rule(
    value: float, words: str, panel: Panel, *, vertical: bool = False, lift_px: float = 0.0
) -> list[alt.Chart]:
    """A named reference line across the panel at `value` of the y axis, or of the x axis if vertical.

    lift_px: raises the words, for a line whose neighbour has words too.
    """
    at: Row
    # near the right edge the words are left of the line, because the curves' names are right of it
    before = vertical and value > panel.x.low + 0.75 * (panel.x.high - panel.x.low)
    if vertical:
        ends: Row = {"x": value, "y": panel.y.low, "x2": value, "y2": panel.y.high}
        at = {"x": value, "y": panel.y.low}
    else:
        ends = {"x": panel.x.low, "y": value, "x2": panel.x.high, "y2": value}
        at = {"x": panel.x.low, "y": value}
    line = alt.Chart(data([ends])).mark_rule(color=INK, strokeWidth=1, strokeDash=[1, 3])
    text = alt.Chart(data([at])).mark_text(
        fontSize=10.5,
        color=INK,
        fontStyle="italic",
        align="right" if before else "left",
        dx=-4 if before else 4,
        dy=-6 - lift_px,
    )
    return [
        line.encode(x=alt.X("x:Q"), x2=alt.X2("x2:Q"), y=alt.Y("y:Q"), y2=alt.Y2("y2:Q")),
        text.encode(x=alt.X("x:Q"), y=alt.Y("y:Q"), text=alt.value(words)),
    ]


def draw(panel: Panel, looks: dict[str, Look], rules: Sequence[alt.Chart] = ()) -> Composed:
    """The panel: reference lines below, then bands, lines and markers, then the names."""
    use = _Encodings(panel, looks)
    blank = alt.Chart(data([{"x": panel.x.low, "y": panel.y.low}])).mark_point(opacity=0)
    frame = blank.encode(x=use.x, y=use.y)
    layers = [frame, *rules, *_curves(panel, use), *_bounds(panel, use), *_departures(panel, use)]
    if panel.labelled:
        layers += _names(panel, use)
    title = alt.TitleParams(panel.title, anchor="start", fontSize=12, fontWeight="bold", offset=14)
    return lay_over(layers, width=panel.width, height=panel.height, title=title)


def with_title(chart: Composed, title: str, subtitle: Sequence[str]) -> Composed:
    """The finished chart: its title, the source of its figures, and the common typography."""
    heading = alt.TitleParams(
        title, subtitle=list(subtitle), anchor="start", fontSize=15, subtitleFontSize=11, offset=16
    )
    return chart.with_properties(title=heading, padding=8, config=_typography())


def _typography() -> alt.Config:
    axis = alt.AxisConfig(
        domainColor=INK,
        domainOpacity=0.5,
        gridColor=INK,
        gridOpacity=0.1,
        labelColor=INK,
        labelFontSize=11,
        labelPadding=5,
        tickColor=INK,
        tickOpacity=0.5,
        tickSize=4,
        titleColor=INK,
        titleFontSize=11,
        titleFontWeight="normal",
        titlePadding=8,
    )
    return alt.Config(
        font=FONT,
        background="transparent",
        aria=False,
        axis=axis,
        title=alt.TitleConfig(color=INK, subtitleColor=INK),
        view=alt.ViewConfig(stroke=None),
    )
