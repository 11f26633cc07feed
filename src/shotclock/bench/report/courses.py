"""The held-out loss along what a run spends, wall time or money: a course an arm."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from shotclock.bench.numbers import NOTHING
from shotclock.bench.report.axes import LOG_FROM_RATIO, about_all, linear, logarithmic
from shotclock.bench.report.grid import Cell, Grid, plain
from shotclock.bench.report.lines import Axis, Curve

APART_PX = 6
"""Evaluations that would stand closer are drawn as one point."""
_ROWS = 16


@dataclass(frozen=True, slots=True)
class Point:
    """After one step: what a run had spent, mean over seeds, and the loss, mean, least and most of them."""

    step: int
    spent: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Course:
    """An arm's evaluations in order, over `seeds` seeds."""

    arm: str
    seeds: int
    points: tuple[Point, ...]


def courses(arms: Iterable[str], evaluations: Iterable[tuple[str, int, int, float, float]]) -> list[Course]:
    """From (arm, seed, step, spent until then, loss): one for each of the arms that has a finite loss.

    Steps that some seeds never reached (an interrupted run) keep the seeds that did.
    """
    seeds: dict[str, set[int]] = {}
    by_step: dict[str, dict[int, list[tuple[float, float]]]] = {}
    for arm, seed, step, spent, loss in evaluations:
        if math.isfinite(loss):
            seeds.setdefault(arm, set()).add(seed)
            by_step.setdefault(arm, {}).setdefault(step, []).append((spent, loss))
    return [
        Course(arm, len(seeds[arm]), tuple(_point(*each) for each in sorted(by_step[arm].items())))
        for arm in arms
        if arm in by_step
    ]


def _point(step: int, values: Sequence[tuple[float, float]]) -> Point:
    losses = [loss for _, loss in values]
    return Point(step, fmean(spent for spent, _ in values), fmean(losses), min(losses), max(losses))


def loss_axis(found: Sequence[Course]) -> Axis:
    """About every loss of every seed."""
    values = [value for course in found for point in course.points for value in (point.low, point.high)]
    return linear(*about_all(values, 0.04), 6, "held-out loss")


def spent_axis(found: Sequence[Course], title: str) -> tuple[Axis, Callable[[Point], float]]:
    """Of what was spent, logarithmic for arms whose ends lie far apart, and where on it a point stands."""
    ends = [course.points[-1].spent for course in found]
    first = min(course.points[0].spent for course in found)
    if first <= 0 or max(ends) < LOG_FROM_RATIO * min(ends):
        return linear(0.0, max(ends) or 1.0, 6, title), lambda point: point.spent
    return logarithmic(first, max(ends), f"{title}, log scale"), lambda point: math.log10(point.spent)


def curve(
    course: Course, at: Callable[[Point], float], x: Axis, width_px: float, label: str, *, band: bool
) -> Curve:
    """The course as a line on the axis, its evaluations `APART_PX` apart or more.

    band: from the least to the greatest loss, if there are seeds to differ.
    """
    drawn = thinned([(at(point), point) for point in course.points], x, width_px)
    points = tuple((place, mean) for place, mean, _, _ in drawn)
    lows = tuple((place, low, high) for place, _, low, high in drawn)
    every = max(1, len(points) // 4)
    return Curve(course.arm, points, points[::-every][::-1], label, lows if band and course.seeds > 1 else ())


def thinned(
    placed: Sequence[tuple[float, Point]], x: Axis, width_px: float
) -> list[tuple[float, float, float, float]]:
    """(x, mean, low, high): of evaluations within one `APART_PX`, the mean at the place of the last."""
    cells: dict[int, list[tuple[float, Point]]] = {}
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


def course_grid(found: Sequence[Course], caption: str, cell: Callable[[Point], Cell]) -> Grid:
    """Some of the evaluated steps, an arm a column."""
    steps = sorted({point.step for course in found for point in course.points})
    every = -(-len(steps) // _ROWS)
    by_step = [{point.step: point for point in course.points} for course in found]
    rows: list[tuple[str | Cell, ...]] = [
        (f"{step:,}", *(cell(own[step]) if step in own else Cell(NOTHING) for own in by_step))
        for step in steps[::-every][::-1]
    ]
    return plain(caption, ("step", *(course.arm for course in found)), rows, even=True)
