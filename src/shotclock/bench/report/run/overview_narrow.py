"""The first screen's two charts for a telephone: text stands above each row's marks, panels are stacked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import wrap
from typing import Literal

import altair as alt

from shotclock.bench.numbers import limit_ms
from shotclock.bench.report.kit.arm_styles import INK, Look
from shotclock.bench.report.kit.compose import Composed, lay_over, stack
from shotclock.bench.report.kit.latency_samples import MISSION_MS
from shotclock.bench.report.kit.panel import Row, data, with_title
from shotclock.bench.report.run.overview import (
    LATENCY_LEGEND,
    LATENCY_TITLE,
    LatencyRow,
    encode_x,
    mark_latencies,
    span_latencies,
)
from shotclock.bench.report.run.training_chart import TITLE, TrainingPanel, find_losses, find_speeds
from shotclock.bench.schema import Summary

_WIDTH_PX, _BAND_PX = 316, 13
_LINE_CHARACTERS = 58
"""Characters of a subtitle's line that fit the width."""
_NAME, _NOTE, _GAP = ":name", ":note", ":gap"
"""Suffixes of the bands about a row's marks: text above, room below."""


def draw_narrow_latency(rows: Sequence[LatencyRow], subtitle: Sequence[str]) -> Composed:
    """A row is four bands: name, figures, marks, room. A vertical tick in each is the gate's limit."""
    axis = span_latencies(rows)
    bands = [band for row in rows for band in (row.name + _NAME, row.name + _NOTE, row.name, row.name + _GAP)]
    y = _encode_bands(bands)
    limits: list[Row] = [{"row": row.name, "x": math.log10(MISSION_MS)} for row in rows]
    tick = alt.Chart(data(limits)).mark_tick(orient="vertical", size=_BAND_PX, thickness=1.2, color=INK)
    names: list[Row] = [{"row": row.name + _NAME, "words": row.name} for row in rows]
    notes: list[Row] = [{"row": row.name + _NOTE, "words": row.note} for row in rows]
    layers = [
        tick.encode(x=encode_x(axis), y=y),
        *mark_latencies(rows, axis, y),
        _write(names, y, weight="bold"),
        _write(notes, y),
    ]
    chart = lay_over(layers, width=_WIDTH_PX, height=_BAND_PX * len(bands))
    legend = f"{LATENCY_LEGEND}; vertical line: {limit_ms(MISSION_MS)} limit"
    return with_title(chart, LATENCY_TITLE, _fold([*subtitle, legend]))


def draw_narrow_training(summary: Summary, faces: dict[str, Look], subtitle: Sequence[str]) -> Composed:
    """The losses above the speeds."""
    losses, speeds = (_draw_panel(find(summary), faces) for find in (find_losses, find_speeds))
    return with_title(stack([losses, speeds], spacing=24), TITLE, _fold(subtitle))


def _draw_panel(panel: TrainingPanel, faces: dict[str, Look]) -> Composed:
    """Each arm is three bands: its name, its figures, its mark."""
    bands = [band for arm in panel.arms for band in (arm + _NAME, arm + _NOTE, arm)]
    names: list[Row] = [{"row": arm + _NAME, "words": arm} for arm in panel.arms]
    notes: list[Row] = [{"row": f"{row['arm']}{_NOTE}", "words": row["words"]} for row in panel.rows]
    y = _encode_bands(bands)
    layers = [
        *panel.mark(faces, _encode_bands(bands, "arm")),
        _write(names, y, weight="bold"),
        _write(notes, y),
    ]
    return lay_over(layers, width=_WIDTH_PX, height=_BAND_PX * len(bands))


def _encode_bands(bands: Sequence[str], field: str = "row") -> alt.Y:
    return alt.Y(f"{field}:N", sort=list(bands), scale=alt.Scale(domain=list(bands)), axis=None)


def _write(rows: Sequence[Row], y: alt.Y, *, weight: Literal["normal", "bold"] = "normal") -> alt.Chart:
    text = alt.Chart(data(rows)).mark_text(align="left", dy=1.5, fontSize=11, fontWeight=weight, color=INK)
    placed: alt.Chart = text.encode(x=alt.value(0), y=y, text=alt.Text("words:N"))
    return placed


def _fold(lines: Sequence[str]) -> list[str]:
    return [folded for line in lines for folded in wrap(line, _LINE_CHARACTERS)]
