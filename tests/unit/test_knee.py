"""The sweep's decisions, and the knee of a queue whose knee is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from queueing import MS, Queue, degrade, run_load
from shotclock.bench.load.arrivals import ArrivalPlan, Scenario
from shotclock.bench.load.judge import judge
from shotclock.bench.load.knee import FEWEST_CALLS, RatePoint, Search, Try
from shotclock.bench.load.schema import Knee
from shotclock.bench.schema import Result

PASS, FAIL, OPEN = Result.PASS, Result.FAIL, Result.INCONCLUSIVE


def run_search(search: Search, capacity: float) -> tuple[Knee, list[RatePoint]]:
    points: list[RatePoint] = []
    while isinstance(step := search.next(points), Try):
        points.append(RatePoint(step.rate_per_s, PASS if step.rate_per_s <= capacity else FAIL))
        assert len(points) < 60
    return step, points


@pytest.mark.parametrize("capacity", [3.0, 40.0, 77.0, 900.0])
def test_the_knee_is_bracketed_within_the_resolution(capacity: float) -> None:
    knee, _ = run_search(Search(40, 10), capacity)
    assert knee.met_per_s is not None
    assert knee.missed_per_s is not None
    assert knee.met_per_s <= capacity < knee.missed_per_s <= 1.1 * knee.met_per_s
    assert knee.why == "above it the deadline was missed"


def test_a_sweep_that_finds_no_end_says_so() -> None:
    knee, _ = run_search(Search(40, 10, span=4), 1e9)
    assert (knee.met_per_s, knee.missed_per_s) == (160, None)
    knee, _ = run_search(Search(40, 10, span=4), 0.1)
    assert (knee.met_per_s, knee.missed_per_s) == (None, 10)


def test_where_no_call_comes_in_time_no_lower_rate_is_tried() -> None:
    plan = ArrivalPlan(Scenario.SERVER, 50, 20, 4 * MS, n=4)
    load_run = judge(run_load(plan, Queue(lambda _: 0.005)), plan, "any")
    for basis in ("any", "quantum"):
        knee = Search(50, 20).next([RatePoint.of(50, load_run, basis)])
        assert isinstance(knee, Knee)
        assert (knee.met_per_s, knee.missed_per_s) == (None, 50)
        assert "no call came in time" in knee.why
    overloaded = replace(plan, rate_per_s=400, deadline_ns=50 * MS)
    load_run = judge(run_load(overloaded, Queue(lambda _: 0.005)), overloaded, "any")
    assert load_run.result is FAIL
    assert Search(400, 20).next([RatePoint.of(400, load_run)]) == Try(200, 20)


def test_classical_answers_in_time_are_no_hope_for_the_qpus() -> None:
    plan = ArrivalPlan(Scenario.SERVER, 50, 20, 200 * MS, n=4)
    load_run = judge(run_load(plan, Queue(lambda _: 0.005, lambda _: degrade)), plan, "quantum")
    assert RatePoint.of(50, load_run, "quantum").hopeless
    assert not RatePoint.of(50, load_run, "any").hopeless


def test_every_run_is_long_enough_for_its_percentile() -> None:
    assert Search(2, 10).next([]) == Try(2, FEWEST_CALLS / 2)
    assert Search(1000, 10).next([]) == Try(1000, 10)


def test_what_settled_nothing_is_tried_once_more_and_twice_as_long_then_counts_as_missed() -> None:
    search = Search(1000, 10)
    assert search.next([RatePoint(1000, OPEN)]) == Try(1000, 20)
    assert search.next([RatePoint(1000, OPEN), RatePoint(1000, OPEN)]) == Try(500, 10)
    assert search.next([RatePoint(1000, OPEN), RatePoint(1000, PASS)]) == Try(2000, 10)


def test_a_generator_at_its_limit_is_not_tried_again_and_is_named() -> None:
    search = Search(1000, 10, resolution=1.5)
    points = [RatePoint(1000, PASS), RatePoint(2000, OPEN, faulty=True)]
    knee = search.next(points)
    assert isinstance(knee, Knee)
    assert "load generator" in knee.why


def test_a_generator_that_is_late_at_lower_rates_too_ends_the_search() -> None:
    search, late = Search(1000, 10), [RatePoint(1000, OPEN, faulty=True), RatePoint(500, OPEN, faulty=True)]
    assert search.next(late[:1]) == Try(500, 10)
    knee = search.next(late)
    assert isinstance(knee, Knee)
    assert knee.met_per_s is None
    assert "too busy" in knee.why
    assert search.next([late[0], RatePoint(500, FAIL)]) == Try(250, 10)


def test_a_claim_is_confirmed_and_one_failure_lowers_it() -> None:
    search = Search(100, 10, confirmations=3)
    points = [RatePoint(100, PASS), RatePoint(200, FAIL), RatePoint(105, FAIL)]
    assert search.next(points) == Try(100, 10)
    assert search.next([*points, RatePoint(100, PASS)]) == Try(100, 10)
    assert isinstance(search.next([*points, RatePoint(100, PASS), RatePoint(100, PASS)]), Knee)
    assert search.next([*points, RatePoint(100, FAIL)]) == Try(50, 20)


def test_an_inconclusive_confirmation_confirms_nothing_and_ends() -> None:
    search = Search(100, 10, confirmations=3)
    points = [RatePoint(100, PASS), RatePoint(200, FAIL), RatePoint(105, FAIL)]
    assert search.next([*points, RatePoint(100, OPEN), RatePoint(100, OPEN)]) == Try(100, 10)
    assert search.next([*points, *[RatePoint(100, OPEN)] * 3]) == Try(50, 20)


def test_the_knee_of_a_queue_lies_below_its_capacity() -> None:
    # M/D/1 with a service D of 5 ms: P(wait > x) falls as e^(−ux/D) with ρ(e^u − 1) = u, so that 1 % wait
    # 45 ms at u ≈ 0.5, ρ = 0.77: 154 calls a second. Early stopping asks for some room below it.
    base = ArrivalPlan(Scenario.SERVER, 1, 10, 50 * MS, n=4)
    search, points = Search(40, 30), list[RatePoint]()
    while isinstance(step := search.next(points), Try):
        plan = replace(base, rate_per_s=step.rate_per_s, duration_s=step.duration_s, seed=10 + len(points))
        points.append(
            RatePoint.of(step.rate_per_s, judge(run_load(plan, Queue(lambda _: 0.005)), plan, "any"))
        )
    assert step.met_per_s is not None
    assert 123 <= step.met_per_s <= 165
