"""Percentiles are honest or absent; gates decide by binomial bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotclock.bench.schema import Result
from shotclock.bench.stats import distributions
from shotclock.bench.stats.statistics import (
    QUANTILES,
    Sample,
    allowance,
    estimate_paired_interval,
    gate_quantile,
    gate_ratio,
    percentile,
    ratio,
)

MS = 1_000_000


@pytest.mark.parametrize(("quantile", "fewest"), [(0.50, 11), (0.95, 130), (0.99, 662)])
def test_the_fewest_samples_of_each_percentile(quantile: float, fewest: int) -> None:
    assert percentile(Sample.of([MS] * (fewest - 1)), quantile) is None
    assert percentile(Sample.of([MS] * fewest), quantile) is not None


@pytest.mark.parametrize(
    ("quantile", "n", "allowed"),
    [(0.95, 2_000, 77), (0.99, 10_000, 77), (0.99, 100_000, 927), (0.95, 90, 0), (0.95, 89, -1)],
)
def test_the_over_deadline_allowance(quantile: float, n: int, allowed: int) -> None:
    assert allowance(n, quantile) == allowed


def test_the_upper_bound_covers_the_true_quantile_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    truth = -np.log(0.05)
    covered = 0
    for _ in range(1_000):
        draws = rng.exponential(size=300)
        p95 = percentile(Sample.of([round(x * 1e9) for x in draws]), 0.95)
        assert p95 is not None
        assert p95.upper_bound is not None
        covered += p95.upper_bound / 1e3 >= truth
    # at least 99 % by construction; 980 is 3.2 standard deviations below that
    assert covered >= 980


@given(
    st.lists(st.integers(0, 10**12), min_size=1, max_size=400),
    st.integers(0, 40),
    st.sampled_from(sorted(QUANTILES.values())),
)
def test_a_percentile_is_an_order_statistic_and_misses_rank_above_all(
    values: list[int], missed: int, quantile: float
) -> None:
    sample = Sample.of(values, missed)
    estimate = percentile(sample, quantile)
    if estimate is None:
        assert allowance(sample.n, quantile) < 1
        return
    ranked = [*sorted(values), *[None] * missed]
    expected = ranked[int(np.ceil(quantile * len(ranked))) - 1]
    assert estimate.value == (None if expected is None else expected / MS)
    if estimate.value is None:
        assert estimate.upper_bound is None
    elif estimate.upper_bound is not None:
        assert estimate.upper_bound >= estimate.value


def test_a_fail_is_conclusive_with_five_and_a_pass_with_ninety() -> None:
    assert gate_quantile(Sample.of([3_000 * MS] * 5), 0.95, 200)[0] is Result.FAIL
    assert gate_quantile(Sample.of([100 * MS] * 90), 0.95, 200)[0] is Result.PASS
    assert gate_quantile(Sample.of([100 * MS] * 89), 0.95, 200)[0] is Result.INCONCLUSIVE
    assert gate_quantile(Sample.of([]), 0.95, 200)[0] is Result.INCONCLUSIVE


def test_misses_count_as_over_the_limit() -> None:
    result, why = gate_quantile(Sample.of([100 * MS] * 50, missed=50), 0.95, 200)
    assert result is Result.FAIL
    assert why.startswith("50 of 100 calls over 200 ms")


def test_a_value_at_the_limit_is_within_it() -> None:
    assert Sample.of([200 * MS, 200 * MS + 1]).above(200) == 1


def test_a_wrong_gate_verdict_is_as_rare_as_its_confidence() -> None:
    rng = np.random.default_rng(7)
    # the true p95 lies exactly at the limit: either conclusive verdict is an error of at most 1 % each
    wrong = {Result.PASS: 0, Result.FAIL: 0, Result.INCONCLUSIVE: 0}
    for _ in range(2_000):
        over = int(rng.binomial(500, 0.05))
        wrong[gate_quantile(Sample.of([MS] * (500 - over), over), 0.95, 200)[0]] += 1
    assert wrong[Result.PASS] <= 36
    assert wrong[Result.FAIL] <= 36


def test_ratios() -> None:
    assert ratio(0, 0).value is None
    estimate = ratio(90, 90)
    assert estimate.lower_bound is not None
    assert estimate.lower_bound == pytest.approx(0.005 ** (1 / 90))
    assert gate_ratio(90, 90, 0.9)[0] is Result.PASS
    assert gate_ratio(0, 5, 0.9)[0] is Result.FAIL
    assert gate_ratio(5, 5, 0.9)[0] is Result.INCONCLUSIVE
    assert gate_ratio(0, 0, 0.9)[0] is Result.INCONCLUSIVE


def test_a_paired_interval_needs_two_seeds() -> None:
    assert estimate_paired_interval([1.0]) is None
    low, high = estimate_paired_interval([1.0, 2.0, 3.0]) or (0.0, 0.0)
    assert (low + high) / 2 == pytest.approx(2.0)
    assert high - low == pytest.approx(2 * 4.30265 / 3**0.5, rel=1e-5)


def test_the_distributions_are_those_of_scipy_stats() -> None:
    """`scipy.stats` is the reference; the package does without its second of import."""
    from scipy import stats

    for n in (1, 2, 10, 129, 130, 662, 5000):
        for p in (0.001, 0.01, 0.05, 0.5, 0.9, 0.99):
            for q in (0.005, 0.01, 0.3, 0.995):
                assert distributions.binomial_ppf(q, n, p) == stats.binom.ppf(q, n, p)
                assert distributions.binomial_isf(q, n, p) == stats.binom.isf(q, n, p)
            for k in {-1, 0, n // 2, n - 1, n}:
                assert distributions.binomial_cdf(k, n, p) == pytest.approx(
                    stats.binom.cdf(k, n, p), rel=1e-9
                )
                assert distributions.binomial_sf(k, n, p) == pytest.approx(
                    stats.binom.sf(k, n, p), rel=1e-9, abs=1e-300
                )
    for successes, n in ((0, 5), (5, 5), (3, 7), (900, 1000)):
        expected = stats.binomtest(successes, n).proportion_ci(0.99, method="exact")
        assert distributions.exact_interval(successes, n, 0.99) == pytest.approx(tuple(expected), rel=1e-9)
    values = [0.3, -0.2, 1.7, 0.05]
    low, high = stats.t.interval(0.95, 3, loc=0, scale=stats.sem(values))
    assert distributions.t_half_width(values, 0.95) == pytest.approx((high - low) / 2, rel=1e-12)
