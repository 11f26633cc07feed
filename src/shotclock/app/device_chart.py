"""The comparison of devices and fabrics as one chart: rep_delay against shots, the mean in each cell."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from shotclock.app.device_comparison import REFERENCE_MEAN_MS, Prediction
from shotclock.bench.report.kit.arm_styles import INK
from shotclock.bench.report.kit.panel import Row, data
from shotclock.bench.report.kit.render import standalone, svg

PAPER = "#ffffff"
FILLS = {"below": "#c9c9c6", "within": INK, "above": "#f2f2f0"}
"""By where a mean lies; only the darkest is within the reference range."""
_CELL_PX, _ROW_PX = 46, 20


def draw_chart(predictions: Sequence[Prediction], n: int) -> str:
    """The chart as an SVG file's text; EMULATED predictions."""
    low, high = REFERENCE_MEAN_MS
    words = {
        "below": f"less than {low:g} ms",
        "within": f"{low:g} to {high:g} ms, the reference range",
        "above": f"more than {high:g} ms",
    }
    cells = data([cell for each in predictions for cell in _list_cells(each, words)])
    delays = sorted({each.rep_delay_us for each in predictions}, reverse=True)
    x = alt.X("shots:O", sort=None, axis=alt.Axis(title="shots", labelAngle=0, ticks=False))
    y = alt.Y("delay:O", sort=[_write_delay(each) for each in delays], axis=alt.Axis(title="rep_delay"))
    domain, fills = list(words.values()), list(FILLS.values())
    legend = alt.Legend(title="mean, submit to samples", orient="top", symbolStrokeColor=INK, labelLimit=260)
    colour = alt.Color("where:N", scale=alt.Scale(domain=domain, range=fills), legend=legend)
    ink = alt.condition(alt.datum.where == words["within"], alt.value(PAPER), alt.value(INK))
    cell = alt.Chart().mark_rect(stroke=PAPER).encode(x=x, y=y, color=colour)
    text = alt.Chart().mark_text(fontSize=10).encode(x=x, y=y, text="ms:N", color=ink)
    columns, rows = (list(dict.fromkeys(names)) for names in zip(*map(_place, predictions), strict=True))
    title = alt.TitleParams(
        f"The same call on each device and fabric: milliseconds by rep_delay and shots, n = {n}",
        subtitle="EMULATED: means of the time model; nothing was run",
        anchor="start",
    )
    chart = (
        alt.layer(cell, text, data=cells)
        .properties(width=alt.Step(_CELL_PX), height=alt.Step(_ROW_PX))
        .facet(
            column=alt.Column("device:N", sort=columns, title=None),
            row=alt.Row("fabric:N", sort=rows, title=None),
        )
        .resolve_scale(y="independent")
        .properties(title=title)
    )
    return standalone(svg(chart))


def _place(prediction: Prediction) -> tuple[str, str]:
    return prediction.device, prediction.profile


def _list_cells(prediction: Prediction, words: dict[str, str]) -> list[Row]:
    """A cell for each number of shots."""
    low, high = REFERENCE_MEAN_MS
    return [
        {
            "device": prediction.device,
            "fabric": prediction.profile,
            "delay": _write_delay(prediction.rep_delay_us),
            "shots": f"{shots:,}",
            "ms": f"{mean_ms:,.0f}" if mean_ms >= 10.0 else f"{mean_ms:.1f}",
            "where": words["below" if mean_ms < low else "within" if mean_ms <= high else "above"],
        }
        for shots, mean_ms in prediction.mean_ms.items()
    ]


def _write_delay(delay_us: float) -> str:
    return f"{delay_us:,.0f} µs"
