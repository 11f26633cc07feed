"""Intervals over runs: they cover what they say, and calls of one run are not taken for independent."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from shotclock.bench.stats.bootstrap import estimate_paired, over_runs, pairs_needed


def mean(values: NDArray[np.int64]) -> float:
    return float(values.mean())


def test_one_run_has_no_interval_and_neither_has_an_empty_one() -> None:
    run = np.arange(10)
    assert over_runs([run], mean) is None
    assert over_runs([run, np.zeros(0, np.int64)], mean) is None
    assert over_runs([], mean) is None


def test_runs_that_differ_as_wholes_widen_the_interval_however_many_calls_they_have() -> None:
    rng = np.random.default_rng(1)
    levels = [1_000, 1_100, 1_200, 1_300, 1_400]
    runs = [rng.integers(level - 5, level + 5, 5_000) for level in levels]
    estimate = over_runs(runs, mean)
    assert estimate is not None
    assert estimate.value == pytest.approx(1_200, abs=1)
    assert estimate.high - estimate.low > 150  # of calls taken for independent it would be about 4
    assert estimate.runs == 5
    assert over_runs(runs, mean) == estimate


def test_a_paired_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(1_000):
        estimate = estimate_paired(list(rng.normal(0.1, 0.05, 10)), 0.95)
        assert estimate is not None
        covered += estimate.low <= 0.1 <= estimate.high
    assert 930 <= covered <= 970


def test_pairs_needed_are_enough_and_not_many_more() -> None:
    rng = np.random.default_rng(3)
    first = list(rng.normal(0, 1, 12))
    needed = pairs_needed(first, 0.2, 0.98)
    more = estimate_paired(list(rng.normal(0, float(np.std(first, ddof=1)), needed)), 0.98)
    assert more is not None
    assert (more.high - more.low) / 2 == pytest.approx(0.2, rel=0.15)
    assert pairs_needed([0.5, 0.5, 0.5], 0.1, 0.98) == 3
    assert pairs_needed(first, 0.0, 0.98, most=500) == 500
    assert pairs_needed([1.0], 0.1, 0.98, most=500) == 500
