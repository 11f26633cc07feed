"""A chart ready to be drawn, with what it shows in words and the figures behind it."""

from __future__ import annotations

from dataclasses import dataclass

from shotclock.bench.report.kit.compose import Composed
from shotclock.bench.report.kit.grid import Grid


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart to draw.

    name: of its files.
    title: on the page and for a screen reader.
    caption: what it shows, in words.
    chart: the drawing.
    grid: its figures.
    narrow: the drawing for a narrow screen, if the chart needs another there.
    """

    name: str
    title: str
    caption: str
    chart: Composed
    grid: Grid
    narrow: Composed | None = None
