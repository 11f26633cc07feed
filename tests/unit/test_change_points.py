"""Change points: found where a level was moved, and not where nothing was."""

from __future__ import annotations

import numpy as np
import pytest

from shotclock.bench.stats.change_points import FEWEST, change_points


def draw_noisy(*levels: tuple[int, float], seed: int = 0) -> list[float]:
    rng = np.random.default_rng(seed)
    return [level * (1 + 0.03 * float(rng.normal())) for count, level in levels for _ in range(count)]


def test_a_step_is_found_where_it_was_made_with_both_levels() -> None:
    (change,) = change_points(draw_noisy((15, 10.0), (15, 12.0)))
    assert change.index == 15
    assert change.ratio == pytest.approx(0.2, abs=0.05)
    assert change.p <= 0.01


def test_two_steps_are_two_changes_in_order() -> None:
    changes = change_points(draw_noisy((12, 10.0), (12, 14.0), (12, 9.0)))
    assert [change.index for change in changes] == [12, 24]
    assert changes[0].after == changes[1].before


def test_a_level_that_never_moved_is_hardly_ever_cut() -> None:
    cut = sum(bool(change_points(draw_noisy((30, 10.0), seed=seed))) for seed in range(100))
    assert cut <= 4  # 1 % are expected; P(Binomial(100, 0.01) > 4) is 0.003


def test_one_outlier_is_no_change() -> None:
    values = draw_noisy((30, 10.0))
    values[15] = 40.0
    assert change_points(values) == []


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 40, [1.0] * (FEWEST - 1) + [9.0] * FEWEST])
def test_too_few_runs_or_a_constant_series_have_none(values: list[float]) -> None:
    assert change_points(values) == []


def test_the_same_series_has_the_same_changes() -> None:
    values = draw_noisy((10, 10.0), (10, 10.6))
    assert change_points(values) == change_points(values)
