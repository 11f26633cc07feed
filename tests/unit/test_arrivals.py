"""Arrivals: fixed beforehand, Poisson, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from shotclock.bench.load.arrivals import ArrivalPlan, Scenario, instances, poisson, schedule
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import SettingsError

BUDGET = 200_000_000


def test_the_same_seed_gives_the_same_instants_and_another_seed_others() -> None:
    once, again, other = (poisson(50, 10 * NS_PER_S, seed) for seed in (3, 3, 4))
    assert np.array_equal(once, again)
    assert not np.array_equal(once[:10], other[:10])
    assert once.dtype == np.int64


def test_gaps_are_exponential_and_counts_have_the_variance_of_their_mean() -> None:
    instants = poisson(200, 100 * NS_PER_S, 1)
    assert (np.diff(instants) >= 0).all()
    assert instants[0] >= 0
    assert instants[-1] < 100 * NS_PER_S
    gaps_s = np.diff(instants) / NS_PER_S
    assert stats.kstest(gaps_s, "expon", args=(0, 1 / 200)).pvalue > 0.01
    counts = [len(poisson(200, NS_PER_S, seed)) for seed in range(400)]
    assert np.mean(counts) == pytest.approx(200, abs=3)
    assert np.var(counts) == pytest.approx(200, rel=0.2)


def test_each_scenario_schedules_what_does_not_wait() -> None:
    def count_calls(scenario: Scenario) -> int:
        return len(schedule(ArrivalPlan(scenario, 40, 5, BUDGET)))

    assert count_calls(Scenario.SINGLE_STREAM) == count_calls(Scenario.MULTI_STREAM) == 0
    assert count_calls(Scenario.OFFLINE) == 200
    assert count_calls(Scenario.SERVER) == len(poisson(40, 5 * NS_PER_S, 0))


@pytest.mark.parametrize(
    ("rate", "duration", "deadline", "named"),
    [
        (0, 1, BUDGET, "--rate 0"),
        (float("inf"), 1, BUDGET, "--rate inf"),
        (1, -2, BUDGET, "--duration -2"),
        (1, 1, 0, "--deadline-ms"),
        (1, float("nan"), BUDGET, "--duration nan"),
        (1e-9, 1e10, BUDGET, "--duration 1e"),
        (1e6, 60, BUDGET, r"6e\+07 calls a run, at most 5,000,000"),
    ],
)
def test_a_plan_that_cannot_be_run_names_the_flag(
    rate: float, duration: float, deadline: int, named: str
) -> None:
    with pytest.raises(SettingsError, match=named):
        ArrivalPlan(Scenario.SERVER, rate, duration, deadline)


def test_subproblems_are_of_the_asked_size_and_differ() -> None:
    subproblems = instances(7, seed=1, count=5)
    assert [subproblem.n for subproblem in subproblems] == [7] * 5
    assert not np.array_equal(subproblems[0].linear, subproblems[1].linear)
    assert np.array_equal(subproblems[0].linear, instances(7, seed=1, count=1)[0].linear)
