"""Held-out loss, against the arm's own wall time and against the step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import pyarrow as pa
import pyarrow.compute as pc

from shotclock.bench.report.axes import LOG_FROM_RATIO, about_all, linear, logarithmic
from shotclock.bench.report.lines import Axis, Composed, Curve, Panel, draw, dressed
from shotclock.bench.report.looks import Look
from shotclock.bench.schema import Summary


@dataclass(frozen=True, slots=True)
class Point:
    """Held-out loss after one step: mean, least and most over seeds, at the seeds' mean wall time, s."""

    step: int
    wall_s: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Course:
    """An arm's evaluations in order, over `seeds` seeds."""

    arm: str
    seeds: int
    points: tuple[Point, ...]


def courses(summary: Summary, table: pa.Table) -> list[Course]:
    """A course for every arm that was evaluated at least once; a loss that diverged to NaN ends it."""
    rows = table.filter(pc.is_finite(table["eval_loss"]))
    found = []
    for arm in summary.arms:
        own = rows.filter(pc.equal(rows["arm"], arm))
        if own.num_rows:
            found.append(Course(arm, len(set(own["seed"].to_pylist())), _points(own)))
    return found


def _points(own: pa.Table) -> tuple[Point, ...]:
    """Steps that some seeds never reached (an interrupted run) keep the seeds that did."""
    by_step: dict[int, list[tuple[float, float]]] = {}
    columns = ("step", "start_ns", "total_iteration_time_ns", "eval_loss")
    for step, start, took, loss in zip(*(own[name].to_pylist() for name in columns), strict=True):
        by_step.setdefault(step, []).append(((start + took) / 1e9, loss))
    return tuple(
        Point(
            step,
            sum(at for at, _ in values) / len(values),
            sum(loss for _, loss in values) / len(values),
            min(loss for _, loss in values),
            max(loss for _, loss in values),
        )
        for step, values in sorted(by_step.items())
    )


def _wall_axis(found: list[Course]) -> tuple[Axis, bool]:
    ends = [course.points[-1].wall_s for course in found]
    first = min(course.points[0].wall_s for course in found)
    if max(ends) < LOG_FROM_RATIO * min(ends):
        return linear(0.0, max(ends), 6, "wall time of the arm, s"), False
    return logarithmic(first, max(ends), "wall time of the arm, s, log scale"), True


def _curve(course: Course, *, by_step: bool, log: bool) -> Curve:
    def x(point: Point) -> float:
        if by_step:
            return float(point.step)
        return math.log10(point.wall_s) if log else point.wall_s

    points = tuple((x(point), point.mean) for point in course.points)
    band = tuple((x(p), p.low, p.high) for p in course.points)
    every = max(1, len(points) // 4)
    # The small panel is for the means: bands of arms that learn alike would only cover each other.
    shown = band if course.seeds > 1 and not by_step else ()
    return Curve(course.arm, points, points[::-every][::-1], course.arm, shown)


def losses(found: list[Course], looks: dict[str, Look], subtitle: Sequence[str]) -> Composed:
    """Left against wall time with the arms named, right against the step, on one loss axis."""
    values = [value for course in found for point in course.points for value in (point.low, point.high)]
    y = linear(*about_all(values, 0.04), 6, "held-out loss")
    wall, log = _wall_axis(found)
    steps = linear(0.0, float(max(course.points[-1].step for course in found) + 1), 4, "step")
    left = Panel(
        tuple(_curve(c, by_step=False, log=log) for c in found),
        wall,
        y,
        500,
        300,
        "against wall time",
        stepped=False,
    )
    right = Panel(
        tuple(_curve(c, by_step=True, log=False) for c in found),
        steps,
        y,
        220,
        300,
        "against the step",
        stepped=False,
        labelled=False,
        y_words=False,
    )
    both = alt.hconcat(draw(left, looks), draw(right, looks), spacing=24)
    return dressed(both, "Held-out loss", subtitle)
