"""Held-out loss, against the arm's own wall time and against the step."""

from __future__ import annotations

from collections.abc import Sequence

from shotclock.bench.analysis import LossCurve, LossPoint
from shotclock.bench.numbers import number
from shotclock.bench.report.kit.arm_styles import Look
from shotclock.bench.report.kit.axes import linear
from shotclock.bench.report.kit.compose import Composed, set_beside
from shotclock.bench.report.kit.grid import Cell, Grid
from shotclock.bench.report.kit.panel import Panel, draw, with_title
from shotclock.bench.report.run.loss_axes import course_grid, curve, loss_axis, make_spending_axis

_WIDE, _NARROW, _HEIGHT = 500, 220, 300


def draw_losses(curves: Sequence[LossCurve], looks: dict[str, Look], subtitle: Sequence[str]) -> Composed:
    """Left against wall time with the arms named, right against the step, on one loss axis."""
    y = loss_axis(curves)
    wall, spent = make_spending_axis(curves, "wall time of the arm, s")
    steps = linear(0.0, float(max(course.points[-1].step for course in curves) + 1), 4, "step")

    def step(point: LossPoint) -> float:
        return float(point.step)

    left = Panel(
        tuple(curve(course, spent, wall, _WIDE, course.arm, band=True) for course in curves),
        wall,
        y,
        _WIDE,
        _HEIGHT,
        "against wall time",
        stepped=False,
    )
    # The small panel is for the means: bands of arms that learn alike would only cover each other.
    right = Panel(
        tuple(curve(course, step, steps, _NARROW, course.arm, band=False) for course in curves),
        steps,
        y,
        _NARROW,
        _HEIGHT,
        "against the step",
        stepped=False,
        labelled=False,
        y_words=False,
    )
    both = set_beside([draw(left, looks), draw(right, looks)], spacing=24)
    return with_title(both, "Held-out loss", subtitle)


def loss_grid(curves: Sequence[LossCurve]) -> Grid:
    """Loss and wall time after some of the evaluated steps."""

    def cell(point: LossPoint) -> Cell:
        return Cell(number(point.mean), f"{number(point.spent)} s")

    return course_grid(curves, "Held-out loss after a step, and the wall time then", cell)
