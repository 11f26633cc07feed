"""The courses of the held-out loss: means over seeds, and as many points as can be distinguished."""

from __future__ import annotations

from itertools import pairwise

import pytest

from shotclock.bench.analysis import LossCurve, LossPoint
from shotclock.bench.judge.loss_curves import make_curves
from shotclock.bench.report.kit.panel import Axis
from shotclock.bench.report.run.loss_axes import APART_PX, curve, make_spending_axis

WIDTH_PX = 300.0
X = Axis(0.0, 100.0, (), (), "step")


def point(step: int, spent: float, mean: float, low: float, high: float) -> LossPoint:
    return LossPoint(step=step, spent=spent, mean=mean, low=low, high=high)


def course(steps: range, *, seeds: int = 2) -> LossCurve:
    points = tuple(point(step, float(step), 1.0 + step % 2, 0.5, 2.5 + step % 2) for step in steps)
    return LossCurve(arm="hybrid-mine", seeds=seeds, points=points)


def test_seeds_are_averaged_and_what_some_never_reached_keeps_the_others() -> None:
    rows = [
        ("b", 0, 4, 2.0, 1.0),
        ("b", 1, 4, 4.0, 3.0),
        ("b", 0, 9, 6.0, 0.5),
        ("b", 1, 9, 8.0, float("nan")),
        ("a", 0, 4, 1.0, float("inf")),
    ]
    (curve,) = make_curves(["a", "b", "c"], rows)
    assert curve == LossCurve(
        arm="b", seeds=2, points=(point(4, 3.0, 2.0, 1.0, 3.0), point(9, 6.0, 0.5, 0.5, 0.5))
    )


def test_evaluations_too_close_to_distinguish_are_one_point() -> None:
    drawn = curve(course(range(101)), lambda point: float(point.step), X, WIDTH_PX, "", band=True)
    assert len(drawn.points) == WIDTH_PX / APART_PX
    assert [y for _, y in drawn.points][:-1] == [1.5] * (len(drawn.points) - 1)
    assert all((low, high) == (0.5, 3.5) for _, low, high in drawn.band)
    place, last = drawn.points[-1]
    assert place == 100
    assert last == pytest.approx(4 / 3)  # the axis' end is not a separate cell


def test_evaluations_far_enough_apart_are_all_drawn() -> None:
    sparse = course(range(0, 101, 10))
    drawn = curve(sparse, lambda point: float(point.step), X, WIDTH_PX, "", band=True)
    assert drawn.points == tuple((float(point.step), point.mean) for point in sparse.points)
    assert all(b > a for (a, _), (b, _) in pairwise(drawn.points))


def test_one_seed_has_no_band() -> None:
    drawn = curve(course(range(10), seeds=1), lambda point: float(point.step), X, WIDTH_PX, "", band=True)
    assert drawn.band == ()


@pytest.mark.parametrize(("ends", "log"), [((10.0, 100.0), False), ((10.0, 1000.0), True)])
def test_ends_far_apart_want_a_log_axis(ends: tuple[float, float], log: bool) -> None:
    curves = [
        LossCurve(arm="a", seeds=1, points=(point(0, 1.0, 1, 1, 1), point(1, end, 1, 1, 1))) for end in ends
    ]
    axis, place = make_spending_axis(curves, "money")
    assert place(curves[0].points[-1]) == (1.0 if log else 10.0)
    assert ("log scale" in axis.title) is log
