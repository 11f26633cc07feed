"""Where a call's time goes: mean by stage, end to end, an arm a panel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import pyarrow as pa
import pyarrow.compute as pc

from shotclock.bench.report.lines import Composed, Row, data, dressed
from shotclock.bench.report.looks import INK
from shotclock.bench.report.shares import HAND_OVER
from shotclock.bench.report.words import ms
from shotclock.bench.rows import CALL_STAGES
from shotclock.bench.schema import Summary

_WIDTH, _ROW_PX = 370, 17
_SOFTWARE, _EMULATED = "software", "emulated wait"
_FILLS: dict[str, tuple[float, list[int], float]] = {
    _SOFTWARE: (0.9, [1, 0], 0.0),
    _EMULATED: (0.16, [1, 0], 0.9),
    HAND_OVER: (0.0, [2, 2], 1.2),
}
"""Opacity of the fill, dash and width of the outline."""
_WORDS = {
    _SOFTWARE: "software",
    _EMULATED: "emulated wait",
    HAND_OVER: "hand-over: blocked time that no stage accounts for",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """Mean time of one stage over all calls of an arm, ms; a call without the stage counts as 0."""

    stage: str
    software_ms: float
    emulated_ms: float

    @property
    def total_ms(self) -> float:
        """Both parts."""
        return self.software_ms + self.emulated_ms


@dataclass(frozen=True, slots=True)
class Fall:
    """An arm's stages in order; hand-over last: blocked time that no stage accounts for, if there is any."""

    arm: str
    calls: int
    bars: tuple[Bar, ...]

    @property
    def total_ms(self) -> float:
        """All bars end to end."""
        return math.fsum(bar.total_ms for bar in self.bars)


def falls(summary: Summary, table: pa.Table) -> list[Fall]:
    """A fall for every arm that made calls."""
    found = []
    for arm in summary.arms:
        rows = table.filter(pc.and_(pc.equal(table["arm"], arm), table["called"]))
        if rows.num_rows:
            found.append(_fall(arm, rows))
    return found


def _mean_ms(rows: pa.Table, column: str) -> float:
    total: int | None = pc.sum(rows[column]).as_py()
    return (total or 0) / len(rows) / 1e6


def _fall(arm: str, rows: pa.Table) -> Fall:
    bars = []
    for stage in CALL_STAGES:
        total, emulated = _mean_ms(rows, f"{stage}_ns"), _mean_ms(rows, f"{stage}_emulated_ns")
        emulated = min(emulated, total)
        bars.append(Bar(str(stage), total - emulated, emulated))
    blocked = _mean_ms(rows, "added_latency_ns")
    residual = blocked - sum(bar.total_ms for bar in bars)
    # Negative where stages overlap training or each other: then there is nothing unexplained.
    bars.append(Bar(HAND_OVER, max(0.0, residual), 0.0))
    return Fall(arm, rows.num_rows, tuple(bars))


def _segments(fall: Fall) -> list[Row]:
    rows: list[Row] = []
    at = 0.0
    for bar in fall.bars:
        own = HAND_OVER if bar.stage == HAND_OVER else _SOFTWARE
        for kind, length in ((_EMULATED, bar.emulated_ms), (own, bar.software_ms)):
            if length > 0:
                rows.append({"stage": bar.stage, "kind": kind, "start": at, "end": at + length})
            at += length
    return rows


def _panel(fall: Fall, *, stages: bool) -> alt.LayerChart:
    order = [bar.stage for bar in fall.bars]
    # A third of the width stays free on the right, so that the last bar's figure is never clipped.
    x = alt.X(
        "start:Q",
        scale=alt.Scale(domain=[0, max(fall.total_ms, 1e-6) * 1.3], nice=False),
        axis=alt.Axis(title=None, tickCount=5),
    )
    y = alt.Y(
        "stage:N",
        sort=order,
        scale=alt.Scale(domain=order, paddingInner=0.3),
        axis=alt.Axis(title=None, labels=stages, gridOpacity=0.06, ticks=False, domain=False),
    )
    base = alt.Chart(data(_segments(fall)))
    bars = [bar.encode(x=x, x2="end:Q", y=y) for bar in _bars(base)]
    ends = _ends(fall)
    words = alt.Chart(data(ends)).mark_text(align="left", dx=5, fontSize=10, color=INK)
    words = words.encode(x="end:Q", y=y, text="words:N")
    title = alt.TitleParams(
        fall.arm,
        subtitle=f"mean call {ms(fall.total_ms)} ms, n = {fall.calls:,}",
        anchor="start",
        fontSize=12,
        offset=6,
    )
    size = {"width": _WIDTH, "height": _ROW_PX * len(order)}
    return alt.LayerChart(layer=[*bars, words]).properties(title=title, **size)


def _ends(fall: Fall) -> list[Row]:
    at = 0.0
    rows: list[Row] = []
    for bar in fall.bars:
        at += bar.total_ms
        if bar.total_ms > 0:
            rows.append({"stage": bar.stage, "end": at, "words": _length(bar.total_ms)})
    return rows


def _length(value_ms: float) -> str:
    return ms(value_ms) if value_ms >= 0.01 else "< 0.01"


def waterfall(found: list[Fall], subtitle: Sequence[str]) -> Composed:
    """Two panels a row with the same stages on the same lines; each has its own time scale."""
    panels = [_panel(fall, stages=number % 2 == 0) for number, fall in enumerate(found)]
    grid = alt.concat(*panels, columns=2, spacing={"row": 26, "column": 36})
    return dressed(alt.vconcat(_key(), grid, spacing=20), "Mean time of a call by stage, ms", subtitle)


def _key() -> alt.LayerChart:
    """What the three fills mean."""
    rows: list[Row] = [
        {"kind": kind, "start": at, "end": at + 22.0, "words": words}
        for at, (kind, words) in zip((0.0, 100.0, 230.0), _WORDS.items(), strict=True)
    ]
    scale = alt.Scale(domain=[0, 2 * _WIDTH], nice=False)
    x = alt.X("start:Q", scale=scale, axis=None)
    base = alt.Chart(data(rows))
    words = base.mark_text(align="left", dx=5, fontSize=11, color=INK).encode(x="end:Q", text="words:N")
    fills = [bar.encode(x=x, x2="end:Q", y=alt.value(0), y2=alt.value(11)) for bar in _bars(base)]
    return alt.LayerChart(layer=[*fills, words]).properties(width=2 * _WIDTH, height=11)


def _bars(base: alt.Chart) -> list[alt.Chart]:
    return [
        base.transform_filter(alt.datum.kind == kind).mark_bar(
            fill=INK, fillOpacity=fill, stroke=INK, strokeDash=dash, strokeWidth=width
        )
        for kind, (fill, dash, width) in _FILLS.items()
    ]
