"""The fabrics side by side, drawn: a panel each, on one axis of time and the same lines."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt

from shotclock.bench.numbers import limit, limit_ms, ms
from shotclock.bench.report.kit.arm_styles import INK
from shotclock.bench.report.kit.axes import logarithmic
from shotclock.bench.report.kit.compose import Composed, lay_over, set_beside, stack
from shotclock.bench.report.kit.latency_samples import MISSION_MS
from shotclock.bench.report.kit.panel import Axis, Row, data, with_title
from shotclock.bench.report.run.fabrics_table import MEAN, FabricColumn

_WIDTH, _VALUES_PX, _ROW_PX, _COLUMNS = 740, 82, 18, 3
"""All panels of a row with the columns of values beside them, px."""
_SHORTEST_MS, _ROOM = 0.01, 2.0
_KEY = (
    ("figure", "this run's figure"),
    ("bound", "its upper bound"),
    ("expected", "the reference range"),
    ("software", "stage's mean, software"),
    ("emulated", "emulated wait"),
)


def draw_fabrics(fabrics: list[FabricColumn], subtitle: Sequence[str]) -> Composed:
    """A panel a fabric, three in a row; the same figure on the same line, the same time at the same place."""
    longest = [line.bound_ms or line.value_ms or 0.0 for fabric in fabrics for line in fabric.lines]
    longest += [line.expected_ms[1] for fabric in fabrics for line in fabric.lines if line.expected_ms]
    longest += [bar.total_ms for fabric in fabrics for bar in fabric.stages]
    high = _ROOM * max(*longest, MISSION_MS)
    x = logarithmic(_SHORTEST_MS, high, "ms, log scale", every=2)
    width = _WIDTH // min(_COLUMNS, len(fabrics)) - _VALUES_PX
    panels = [
        _panel(fabric, x, width, has_labels=place % _COLUMNS == 0) for place, fabric in enumerate(fabrics)
    ]
    rows = [
        set_beside(panels[first : first + _COLUMNS], spacing=22) for first in range(0, len(panels), _COLUMNS)
    ]
    return with_title(stack([_key(), *rows], spacing=22), "Fabrics side by side", subtitle)


def _panel(fabric: FabricColumn, axis: Axis, width: int, *, has_labels: bool) -> Composed:
    order = [*(line.name for line in fabric.lines), *(bar.stage for bar in fabric.stages)]
    x = alt.X(
        "x:Q", scale=alt.Scale(domain=[axis.low, axis.high], nice=False, zero=False), axis=axis.encode()
    )
    rows = alt.Axis(
        title=None, labels=has_labels, labelLimit=220, gridOpacity=0.06, ticks=False, domain=False
    )
    y = alt.Y("row:N", sort=order, scale=alt.Scale(domain=order, paddingInner=0.3), axis=rows)
    limit: Row = {"x": math.log10(MISSION_MS)}
    gate = alt.Chart(data([limit])).mark_rule(color=INK, strokeWidth=1, strokeDash=[1, 3]).encode(x=x)
    named_limit = alt.Chart(data([limit])).mark_text(fontSize=10, fontStyle="italic", color=INK)
    layers = [
        gate,
        named_limit.encode(x=x, y=alt.value(-6), text=alt.value(limit_ms(MISSION_MS))),
        *_draw_expected(fabric, x, y),
        *_figures(fabric, axis, x, y),
        *_stages(fabric, x, y),
        _words(fabric, width, y),
    ]
    title = alt.TitleParams(
        fabric.arm, subtitle=fabric.gate, anchor="start", fontSize=12, subtitleFontSize=10, offset=14
    )
    return lay_over(layers, width=width, height=_ROW_PX * len(order), title=title)


def _at(value_ms: float) -> float:
    return math.log10(max(value_ms, _SHORTEST_MS))


def _draw_expected(fabric: FabricColumn, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    rows: list[Row] = [
        {"row": line.name, "x": _at(line.expected_ms[0]), "x2": _at(line.expected_ms[1])}
        for line in fabric.lines
        if line.expected_ms
    ]
    if not rows:
        return []
    return [_range(alt.Chart(data(rows))).encode(x=x, x2=alt.X2("x2:Q"), y=y)]


def _figures(fabric: FabricColumn, axis: Axis, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Figures with a line to their bound; a bound among the missed calls leaves by the right edge."""
    drawn: list[Row] = []
    for line in fabric.lines:
        if line.value_ms is not None:
            open_end = line.bound_ms is None and line.name != MEAN
            end = axis.high if open_end else _at(line.bound_ms or line.value_ms)
            drawn.append({"row": line.name, "x": _at(line.value_ms), "x2": end, "open": float(open_end)})
    if not drawn:
        return []
    base = alt.Chart(data(drawn))
    cap = base.transform_filter("!datum.open && datum.x2 > datum.x")
    return [
        _reach(base).encode(x=x, x2=alt.X2("x2:Q"), y=y),
        _cap(cap).encode(x=alt.X("x2:Q"), y=y),
        _dot(base).encode(x=x, y=y),
    ]


def _stages(fabric: FabricColumn, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    software: list[Row] = [
        {"row": bar.stage, "x": _at(bar.software_ms)}
        for bar in fabric.stages
        if bar.software_ms >= _SHORTEST_MS
    ]
    emulated: list[Row] = [
        {"row": bar.stage, "x": _at(bar.emulated_ms)}
        for bar in fabric.stages
        if bar.emulated_ms >= _SHORTEST_MS
    ]
    return [
        _solid(alt.Chart(data(software))).encode(x=x, y=y),
        _open(alt.Chart(data(emulated))).encode(x=x, y=y),
    ]


def _words(fabric: FabricColumn, width: int, y: alt.Y) -> alt.Chart:
    """Each row's figure as text, in a separate column next to the panel."""
    rows: list[Row] = [{"row": line.name, "words": line.words} for line in fabric.lines]
    rows += [{"row": bar.stage, "words": _length(bar.total_ms)} for bar in fabric.stages if bar.total_ms > 0]
    text = alt.Chart(data(rows)).mark_text(align="left", dx=8, fontSize=10, color=INK)
    drawn: alt.Chart = text.encode(x=alt.value(width), y=y, text=alt.Text("words:N"))
    return drawn


def _length(value_ms: float) -> str:
    return ms(value_ms) if value_ms >= _SHORTEST_MS else f"< {limit(_SHORTEST_MS)}"


def _key() -> Composed:
    """What the marks mean."""
    width = _WIDTH
    places = (0.0, 120.0, 240.0, 430.0, 575.0)
    rows: list[Row] = [
        {"kind": kind, "x": at, "x2": at + 16.0, "middle": at + 8.0, "text": at + 21.0, "words": words}
        for at, (kind, words) in zip(places, _KEY, strict=True)
    ]
    base = alt.Chart(data(rows))
    scale = alt.Scale(domain=[0, width], nice=False)
    names = ("x", "x2", "middle", "text")
    x, end, centre, text = (alt.X(f"{name}:Q", scale=scale, axis=None) for name in names)
    kind_of = {kind: base.transform_filter(alt.datum.kind == kind) for kind, _ in _KEY}
    middle = alt.value(6)
    layers = [
        _dot(kind_of["figure"]).encode(x=centre, y=middle),
        _reach(kind_of["bound"]).encode(x=x, x2=alt.X2("x2:Q"), y=middle),
        _cap(kind_of["bound"]).encode(x=end, y=middle),
        _range(kind_of["expected"]).encode(x=x, x2=alt.X2("x2:Q"), y=alt.value(1), y2=alt.value(11)),
        _solid(kind_of["software"]).encode(x=centre, y=middle),
        _open(kind_of["emulated"]).encode(x=centre, y=middle),
        base.mark_text(align="left", fontSize=11, color=INK).encode(
            x=text, y=middle, text=alt.Text("words:N")
        ),
    ]
    return lay_over(layers, width=width, height=12)


def _dot(chart: alt.Chart) -> alt.Chart:
    drawn: alt.Chart = chart.mark_point(size=34, filled=True, fill=INK, stroke=INK, opacity=1)
    return drawn


def _reach(chart: alt.Chart) -> alt.Chart:
    drawn: alt.Chart = chart.mark_rule(color=INK, strokeWidth=1.4)
    return drawn


def _cap(chart: alt.Chart) -> alt.Chart:
    drawn: alt.Chart = chart.mark_tick(color=INK, thickness=1.4, size=9, orient="vertical")
    return drawn


def _range(chart: alt.Chart) -> alt.Chart:
    drawn: alt.Chart = chart.mark_bar(fill=INK, fillOpacity=0.12, stroke=INK, strokeWidth=0.6)
    return drawn


def _solid(chart: alt.Chart) -> alt.Chart:
    drawn: alt.Chart = chart.mark_point(shape="square", size=30, filled=True, fill=INK, opacity=0.9)
    return drawn


def _open(chart: alt.Chart) -> alt.Chart:
    drawn: alt.Chart = chart.mark_point(shape="square", size=46, stroke=INK, strokeWidth=1.2, opacity=1)
    return drawn
