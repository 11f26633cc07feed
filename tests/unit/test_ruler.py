"""The ruler at the size of CI: deterministic, on the benchmark's own code."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import _ruler_series as series
import ruler


@pytest.fixture(scope="module")
def figures() -> dict[str, float]:
    return ruler.metrics(ruler.measure(200, 60))


def test_a_stall_shows_in_the_open_load_and_hides_in_the_closed_one(figures: dict[str, float]) -> None:
    assert figures["planted_stall_visible"] == 1
    assert figures["closed_loop_hides_stall"] == 1


def test_equals_seldom_fail(figures: dict[str, float]) -> None:
    assert figures["aa_failures_of_200"] <= 6


def test_changes_that_just_keep_their_limit_seldom_fail(figures: dict[str, float]) -> None:
    # equals are far from their limits; here each failure is the gate's own error, 1 in 100 of them at most
    assert figures["at_limit_p50_failed_ratio"] <= 3 / 60
    assert figures["at_limit_p99_failed_ratio"] <= 3 / 60


def test_planted_changes_are_caught(figures: dict[str, float]) -> None:
    assert figures["planted_p50_caught_ratio"] >= 0.95
    assert figures["planted_p99_caught_ratio"] >= 0.95


def test_most_comparisons_of_equals_settle(figures: dict[str, float]) -> None:
    assert figures["aa_inconclusive_p50_ratio"] <= 0.05
    assert figures["aa_inconclusive_p99_ratio"] <= 0.25


def test_a_gate_that_took_calls_for_independent_would_fail_equals() -> None:
    a, b = (series.series(200, np.random.default_rng(seed)) for seed in (6, 7))
    result = mannwhitneyu(a, b, alternative="less", axis=1)
    assert np.mean(result.pvalue < 0.01) > 0.05


def test_the_series_are_autocorrelated_and_the_changes_are_what_they_say() -> None:
    latencies = series.series(200, np.random.default_rng(5))
    centred = latencies - latencies.mean(axis=1, keepdims=True)
    lag_one = (centred[:, 1:] * centred[:, :-1]).mean() / (centred**2).mean()
    assert lag_one > 0.5
    longer = series.longer_tail(1.25)(latencies)
    assert np.quantile(longer, 0.5) == pytest.approx(np.quantile(latencies, 0.5))
    assert np.quantile(longer, 0.99) == pytest.approx(1.25 * np.quantile(latencies, 0.99), rel=0.03)
    assert np.quantile(series.slower(1.1)(latencies), 0.5) == pytest.approx(1.1 * np.quantile(latencies, 0.5))
