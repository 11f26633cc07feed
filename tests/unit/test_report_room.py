"""Words beside lines: names keep their distance and their order, and stand where nothing is drawn."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synthetic
from shotclock.bench.report.kit.label_layout import Box, Frame, freest, stack_labels
from shotclock.bench.report.kit.panel import Axis
from shotclock.bench.report.run.page import page

FRAME = Frame(Axis(0.0, 10.0, (), (), ""), Axis(0.0, 10.0, (), (), ""), 200.0, 100.0)
SIDES = ((5, 0), (-5, 0))


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8).map(sorted))
def test_names_stand_apart_in_order_and_never_below_their_lines(starts: list[float]) -> None:
    heights = stack_labels(starts, 5.0)
    assert all(above - below >= 5.0 - 1e-9 for below, above in pairwise(heights))
    assert all(height >= start for height, start in zip(heights, starts, strict=True))


def test_names_of_near_lines_stand_above_all_of_them_and_others_stay() -> None:
    assert stack_labels([1.0, 2.0, 20.0], 5.0) == [2.0, 7.0, 20.0]


@pytest.mark.parametrize(
    ("at", "occupied", "lines", "side"),
    [
        ((5.0, 5.0), [], [], 0),
        ((5.0, 5.0), [], [(120.0, 50.0)], 1),
        ((5.0, 5.0), [Box(110, 40, 130, 60)], [], 1),
        ((9.9, 5.0), [], [(180.0, 50.0)], 1),  # beyond the edge is worse than over a line
    ],
)
def test_words_go_where_they_touch_least(
    at: tuple[float, float], occupied: list[Box], lines: list[tuple[float, float]], side: int
) -> None:
    choices = [FRAME.words(at, "this run", dx, dy) for dx, dy in SIDES]
    assert freest(FRAME, choices, occupied, lines) == side


def test_a_run_against_an_emulated_endpoint_does_not_promise_profiles() -> None:
    summary = synthetic.summary(synthetic.rows(synthetic.SMALL), synthetic.SMALL)
    assert "from the profiles listed below" in page(summary, [], [])
    html = page(summary.model_copy(update={"profiles": {}}), [], [])
    assert "profiles listed below" not in html
    assert "emulated by the endpoint" in html
    assert "No arm used a profile." in html
