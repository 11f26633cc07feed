"""A chart that cannot be drawn says why, where it would have stood."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import altair as alt

from shotclock.bench.report.kit.arm_styles import INK
from shotclock.bench.report.kit.compose import Composed, lay_over
from shotclock.bench.report.kit.grid import Grid, plain
from shotclock.bench.report.kit.panel import Row, data, with_title

_WIDTH, _LINE_PX, _LETTERS = 680, 18, 104


def sentence_chart(title: str, sentence: str, subtitle: Sequence[str]) -> Composed:
    """The sentence in the chart's place, under its title and its mark."""
    lines = textwrap.wrap(sentence, _LETTERS)
    rows: list[Row] = [{"line": text, "y": float(number)} for number, text in enumerate(lines)]
    y = alt.Y("y:Q", scale=alt.Scale(domain=[-0.5, len(lines) - 0.5], reverse=True), axis=None)
    text = alt.Chart(data(rows)).mark_text(align="left", fontSize=12, color=INK)
    line = text.encode(x=alt.value(0), y=y, text=alt.Text("line:N"))
    chart = lay_over([line], width=_WIDTH, height=_LINE_PX * len(lines))
    return with_title(chart, title, subtitle)


def sentence_grid(sentence: str) -> Grid:
    """The same where the chart's figures would stand."""
    return plain("No figures", ("why",), [(sentence,)])
