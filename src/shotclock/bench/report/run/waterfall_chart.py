"""Where a call's time goes: mean by stage, end to end, an arm a panel; what overlap hides is drawn thin.

Of a call, the training waits for propose and apply, which are its own work, and for what is left of the other
stages when it stops to wait: so their end is what blocks, and what came before it was hidden.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shotclock.bench.judge.shares import HAND_OVER
from shotclock.bench.numbers import ms
from shotclock.bench.record.rows import CALL_STAGES
from shotclock.bench.report.kit.arm_styles import INK
from shotclock.bench.report.kit.compose import Composed, lay_over, set_in_columns, stack
from shotclock.bench.report.kit.panel import Row, data, with_title
from shotclock.bench.schema import Summary
from shotclock.domain.stages import Stage

_WIDTH, _ROW_PX = 370, 17
_OWN = (str(Stage.PROPOSE), str(Stage.APPLY))
_THICK, _THIN = 12.0, 4.0
"""Of a bar that blocks the training and of one it does not see, px."""
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
    """Mean time of one stage over all calls of an arm, ms; a call without the stage counts as 0.

    stage: its name.
    software_ms: what of it no emulation waited for.
    emulated_ms: what of it an emulation waited on purpose.
    hidden_ms: of all that, what passed while the training went on.
    """

    stage: str
    software_ms: float
    emulated_ms: float
    hidden_ms: float = 0.0

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

    @property
    def hidden_ms(self) -> float:
        """Of the total, what the training did not wait for."""
        return math.fsum(bar.hidden_ms for bar in self.bars)

    @property
    def blocking_ms(self) -> float:
        """Of the total, what the training waited for."""
        return self.total_ms - self.hidden_ms


def falls(summary: Summary, table: pa.Table) -> list[Fall]:
    """A fall for every arm that made calls."""
    arm_falls = []
    for arm in summary.arms:
        rows = table.filter(pc.and_(pc.equal(table["arm"], arm), table["called"]))
        if rows.num_rows:
            arm_falls.append(_fall(arm, rows))
    return arm_falls


def _mean_ms(rows: pa.Table, column: str) -> float:
    total: int | None = pc.sum(rows[column]).as_py()
    return (total or 0) / len(rows) / 1e6


def _fall(arm: str, rows: pa.Table) -> Fall:
    hidden, hand_over_ms = _sum_hidden(rows)
    bars = []
    for stage in CALL_STAGES:
        total, emulated = _mean_ms(rows, f"{stage}_ns"), _mean_ms(rows, f"{stage}_emulated_ns")
        emulated = min(emulated, total)
        bars.append(Bar(str(stage), total - emulated, emulated, min(total, hidden[str(stage)])))
    bars.append(Bar(HAND_OVER, hand_over_ms, 0.0))
    return Fall(arm, rows.num_rows, tuple(bars))


def _sum_hidden(rows: pa.Table) -> tuple[dict[str, float], float]:
    """Mean hidden time of each stage and mean hand-over, ms, call by call."""
    spent = {str(stage): _fill_column(rows, f"{stage}_ns") for stage in CALL_STAGES}
    unattributed = np.sum(list(spent.values()), axis=0) - _fill_column(rows, "added_latency_ns")
    hand_over_ms = float(np.mean(np.maximum(-unattributed, 0.0))) / 1e6
    hidden = dict.fromkeys(_OWN, 0.0)
    for stage, times in spent.items():
        if stage not in _OWN:
            own = np.clip(unattributed, 0.0, times)
            unattributed = unattributed - own
            hidden[stage] = float(np.mean(own)) / 1e6
    return hidden, hand_over_ms


def _fill_column(rows: pa.Table, column: str) -> NDArray[np.float64]:
    return np.asarray(rows[column].fill_null(0).to_numpy(), dtype=np.float64)


def _segments(fall: Fall) -> list[Row]:
    """Bars end to end, emulated wait before software; of each stage the hidden part comes first."""
    rows: list[Row] = []
    at = 0.0
    for bar in fall.bars:
        own = HAND_OVER if bar.stage == HAND_OVER else _SOFTWARE
        hidden_left = bar.hidden_ms
        for kind, length in ((_EMULATED, bar.emulated_ms), (own, bar.software_ms)):
            unseen = min(hidden_left, length)
            hidden_left -= unseen
            for part, depth in ((unseen, _THIN), (length - unseen, _THICK)):
                if part > 0:
                    rows.append(
                        {"stage": bar.stage, "kind": kind, "start": at, "end": at + part, "depth": depth}
                    )
                at += part
    return rows


def _panel(fall: Fall, *, stages: bool) -> Composed:
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
    bars = [bar.encode(x=x, x2=alt.X2("end:Q"), y=y) for bar in _bars(base)]
    ends = _ends(fall)
    words = alt.Chart(data(ends)).mark_text(align="left", dx=5, fontSize=10, color=INK)
    words = words.encode(x=alt.X("end:Q"), y=y, text=alt.Text("words:N"))
    title = alt.TitleParams(
        fall.arm,
        subtitle=_describe_fall(fall),
        anchor="start",
        fontSize=12,
        offset=6,
    )
    return lay_over([*bars, words], title=title, width=_WIDTH, height=_ROW_PX * len(order))


def _describe_fall(fall: Fall) -> str:
    parts = (
        f"blocks {ms(fall.blocking_ms)} ms, hides {ms(fall.hidden_ms)} ms" if fall.hidden_ms else "all blocks"
    )
    return f"mean call {ms(fall.total_ms)} ms: {parts}, n = {fall.calls:,}"


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


def draw_waterfalls(arm_falls: list[Fall], subtitle: Sequence[str]) -> Composed:
    """Two panels a row with the same stages on the same lines; each has its own time scale."""
    panels = [_panel(fall, stages=number % 2 == 0) for number, fall in enumerate(arm_falls)]
    grid = set_in_columns(panels, columns=2, spacing=(26, 36))
    return with_title(stack([_key(), grid], spacing=20), "Mean time of a call by stage, ms", subtitle)


def _key() -> Composed:
    """What the fills and the two thicknesses mean."""
    meanings = [*_WORDS.items(), (_SOFTWARE, "thin: hidden, the training continues")]
    places = (0.0, 90.0, 210.0, 530.0)
    rows: list[Row] = [
        {
            "kind": kind,
            "start": at,
            "end": at + 22.0,
            "words": words,
            "depth": _THIN if words.startswith("thin") else _THICK,
        }
        for at, (kind, words) in zip(places, meanings, strict=True)
    ]
    scale = alt.Scale(domain=[0, 2 * _WIDTH], nice=False)
    x = alt.X("start:Q", scale=scale, axis=None)
    base = alt.Chart(data(rows))
    words = base.mark_text(align="left", dx=5, fontSize=11, color=INK).encode(
        x=alt.X("end:Q"), y=alt.value(6), text=alt.Text("words:N")
    )
    fills = [bar.encode(x=x, x2=alt.X2("end:Q"), y=alt.value(6)) for bar in _bars(base)]
    return lay_over([*fills, words], width=2 * _WIDTH, height=12)


def _bars(base: alt.Chart) -> list[alt.Chart]:
    """One layer for each fill and thickness there may be; those without a row draw nothing."""
    return [
        base.transform_filter((alt.datum.kind == kind) & (alt.datum.depth == depth)).mark_bar(
            fill=INK, fillOpacity=fill, stroke=INK, strokeDash=dash, strokeWidth=width, height=depth
        )
        for kind, (fill, dash, width) in _FILLS.items()
        for depth in (_THICK, _THIN)
    ]
