"""The held-out loss along what a run spends, wall time or money: a course an arm."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean

from shotclock.bench.analysis import LossCurve, LossPoint
from shotclock.bench.numbers import NOTHING
from shotclock.bench.report.kit.axes import LOG_FROM_RATIO, about_all, linear, logarithmic
from shotclock.bench.report.kit.grid import Cell, Grid, plain
from shotclock.bench.report.kit.panel import Axis, Curve

APART_PX = 6
"""Evaluations closer than this are drawn as one point."""
_ROWS = 16


def loss_axis(curves: Sequence[LossCurve]) -> Axis:
    """About every loss of every seed."""
    values = [value for course in curves for point in course.points for value in (point.low, point.high)]
    return linear(*about_all(values, 0.04), 6, "held-out loss")


def make_spending_axis(curves: Sequence[LossCurve], title: str) -> tuple[Axis, Callable[[LossPoint], float]]:
    """The axis of what was spent, and a point's place on it; logarithmic if the arms end far apart."""
    ends = [course.points[-1].spent for course in curves]
    first = min(course.points[0].spent for course in curves)
    if first <= 0 or max(ends) < LOG_FROM_RATIO * min(ends):
        return linear(0.0, max(ends) or 1.0, 6, title), lambda point: point.spent
    return logarithmic(first, max(ends), f"{title}, log scale"), lambda point: math.log10(point.spent)


def curve(
    course: LossCurve, at: Callable[[LossPoint], float], x: Axis, width_px: float, label: str, *, band: bool
) -> Curve:
    """The course as a line on the axis, its evaluations `APART_PX` apart or more.

    band: from the least to the greatest loss, if there are seeds to differ.
    """
    drawn = thin_points([(at(point), point) for point in course.points], x, width_px)
    points = tuple((place, mean) for place, mean, _, _ in drawn)
    lows = tuple((place, low, high) for place, _, low, high in drawn)
    every = max(1, len(points) // 4)
    return Curve(course.arm, points, points[::-every][::-1], label, lows if band and course.seeds > 1 else ())


def thin_points(
    placed: Sequence[tuple[float, LossPoint]], x: Axis, width_px: float
) -> list[tuple[float, float, float, float]]:
    """(x, mean, low, high): of evaluations within one `APART_PX`, the mean at the place of the last."""
    cells: dict[int, list[tuple[float, LossPoint]]] = {}
    last = width_px / APART_PX - 1  # the axis' very end belongs to it
    for place, point in placed:
        cell = int(min(last, (place - x.low) / (x.high - x.low) * width_px / APART_PX + 1e-9))
        cells.setdefault(cell, []).append((place, point))
    return [
        (
            cell[-1][0],
            fmean(point.mean for _, point in cell),
            min(point.low for _, point in cell),
            max(point.high for _, point in cell),
        )
        for _, cell in sorted(cells.items())
    ]


def course_grid(curves: Sequence[LossCurve], caption: str, cell: Callable[[LossPoint], Cell]) -> Grid:
    """Some of the evaluated steps, an arm a column."""
    steps = sorted({point.step for course in curves for point in course.points})
    every = -(-len(steps) // _ROWS)
    by_step = [{point.step: point for point in course.points} for course in curves]
    rows: list[tuple[str | Cell, ...]] = [
        (f"{step:,}", *(cell(own[step]) if step in own else Cell(NOTHING) for own in by_step))
        for step in steps[::-every][::-1]
    ]
    return plain(caption, ("step", *(course.arm for course in curves)), rows, even=True)
