"""Canaries: the error of their sequential tests, simulated, and their three verdicts."""

from __future__ import annotations

import numpy as np
import pytest

from canary_simulation import simulate_canaries
from shotclock.domain.errors import SettingsError
from shotclock.rollout.canary import (
    ArmSample,
    CanaryPlan,
    Proportion,
    Sample,
    Verdict,
    find_bounds,
    judge,
)

PLAN = CanaryPlan(alpha=0.05, minimum=200)
NO_VALUES = Sample(0)


def make_arm(n: int, misses: int, slow: int, validation: Sample = NO_VALUES) -> ArmSample:
    return ArmSample(Proportion(misses, n), Proportion(slow, n), validation)


def test_canaries_that_equal_their_control_are_rolled_back_within_the_error() -> None:
    canaries = simulate_canaries(400, PLAN, calls=6000, look_every=100, seed=1)
    assert canaries.rolled_back <= 0.05 * 400
    assert canaries.peeked > 2 * 0.05 * 400, "a fixed-size test read as often is wrong far more often"


def test_a_planted_regression_is_rolled_back() -> None:
    canaries = simulate_canaries(200, PLAN, calls=6000, look_every=100, seed=2, canary_miss=0.08)
    assert canaries.rolled_back == 200
    assert 300 <= canaries.median_calls <= 1200
    slower = simulate_canaries(200, PLAN, calls=6000, look_every=100, seed=3, canary_slow=0.15)
    assert slower.rolled_back == 200
    assert slower.promoted == 0


def test_the_bounds_are_where_the_mixture_ratio_is_one_over_alpha() -> None:
    low, high = find_bounds(np.array([0.0, 5.0, 50.0, 0.0]), np.array([0.0, 100.0, 50.0, 50.0]), 0.05)
    assert (low[0], high[0]) == (0.0, 1.0), "nothing is known without calls"
    assert low[1] < 0.05 < high[1]
    assert high[2] == 1.0
    assert low[3] == 0.0
    # all of 50 are hits: B(51, 1) / p⁵⁰ = 20 at p = (1 / (51 × 20))^(1/50)
    assert low[2] == pytest.approx((1 / (51 * 20)) ** (1 / 50), abs=1e-9)
    assert high[3] == pytest.approx(1 - low[2], abs=1e-9)


def test_nothing_is_decided_before_the_minimum() -> None:
    judgement = judge(make_arm(100, 90, 90), make_arm(5000, 50, 250), PLAN)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.is_open
    assert 95 <= judgement.needed <= 105


def test_a_worse_validation_metric_rolls_back_what_is_fast_enough() -> None:
    better, worse = Sample(60, 0.30, 1e-4), Sample(60, 0.33, 1e-4)
    judgement = judge(make_arm(20_000, 200, 1000, worse), make_arm(20_000, 200, 1000, better), PLAN)
    assert judgement.verdict is Verdict.ROLL_BACK
    assert [comparison.measure for comparison in judgement.comparisons if comparison.low > 0] == [
        "validation"
    ]
    equal = judge(make_arm(20_000, 200, 1000, better), make_arm(20_000, 200, 1000, better), PLAN)
    assert equal.verdict is Verdict.PROMOTE
    few = judge(
        make_arm(20_000, 200, 1000, Sample(2, 0.33)), make_arm(20_000, 200, 1000, Sample(2, 0.3)), PLAN
    )
    assert few.verdict is Verdict.INCONCLUSIVE, "two equal values have no variance and say nothing"
    alone = judge(make_arm(20_000, 200, 1000, better), make_arm(20_000, 200, 1000), PLAN)
    assert alone.verdict is Verdict.INCONCLUSIVE, "a metric that only one arm reports decides nothing"


def test_an_inconclusive_canary_says_how_many_calls_it_still_needs() -> None:
    judgement = judge(make_arm(1000, 10, 50), make_arm(9000, 90, 450), PLAN)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    n = 1000 + judgement.needed
    after = judge(make_arm(n, n // 100, n // 20), make_arm(9 * n, 9 * n // 100, 9 * n // 20), PLAN)
    assert after.verdict is Verdict.PROMOTE
    before = n - judgement.needed // 10
    early = judge(
        make_arm(before, before // 100, before // 20),
        make_arm(9 * before, 9 * before // 100, 9 * before // 20),
        PLAN,
    )
    assert early.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"alpha": 1.0}, "alpha must be between"),
        ({"minimum": 1}, "at least 2"),
        ({"miss_margin": 0.0}, "above 0"),
    ],
)
def test_a_plan_that_cannot_be_tested_is_refused(words: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        CanaryPlan(**words)  # type: ignore[arg-type]
