"""Held-out loss, against the arm's own wall time and against the step."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pyarrow as pa

from shotclock.bench.numbers import number
from shotclock.bench.report.axes import linear
from shotclock.bench.report.courses import Course, Point, course_grid, courses, curve, loss_axis, spent_axis
from shotclock.bench.report.grid import Cell, Grid
from shotclock.bench.report.lines import Composed, Panel, draw, dressed
from shotclock.bench.report.looks import Look
from shotclock.bench.schema import Summary

_WIDE, _NARROW, _HEIGHT = 500, 220, 300


def against_time(summary: Summary, table: pa.Table) -> list[Course]:
    """A course for every arm that was evaluated at least once, over its wall time, s."""
    columns = ("arm", "seed", "step", "start_ns", "total_iteration_time_ns", "eval_loss")
    rows = zip(*(table[name].to_pylist() for name in columns), strict=True)
    return courses(
        summary.arms,
        (
            (arm, seed, step, (start + took) / 1e9, loss)
            for arm, seed, step, start, took, loss in rows
            if loss is not None
        ),
    )


def losses(found: list[Course], looks: dict[str, Look], subtitle: Sequence[str]) -> Composed:
    """Left against wall time with the arms named, right against the step, on one loss axis."""
    y = loss_axis(found)
    wall, spent = spent_axis(found, "wall time of the arm, s")
    steps = linear(0.0, float(max(course.points[-1].step for course in found) + 1), 4, "step")

    def step(point: Point) -> float:
        return float(point.step)

    left = Panel(
        tuple(curve(course, spent, wall, _WIDE, course.arm, band=True) for course in found),
        wall,
        y,
        _WIDE,
        _HEIGHT,
        "against wall time",
        stepped=False,
    )
    # The small panel is for the means: bands of arms that learn alike would only cover each other.
    right = Panel(
        tuple(curve(course, step, steps, _NARROW, course.arm, band=False) for course in found),
        steps,
        y,
        _NARROW,
        _HEIGHT,
        "against the step",
        stepped=False,
        labelled=False,
        y_words=False,
    )
    both = alt.hconcat(draw(left, looks), draw(right, looks), spacing=24)
    return dressed(both, "Held-out loss", subtitle)


def loss_grid(found: list[Course]) -> Grid:
    """Loss and wall time after some of the evaluated steps."""

    def cell(point: Point) -> Cell:
        return Cell(number(point.mean), f"{number(point.spent)} s")

    return course_grid(found, "Held-out loss after a step, and the wall time then", cell)
