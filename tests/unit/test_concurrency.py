"""The concurrency limit: within [1, maximum], raised only when used and near the prediction."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotclock.domain.budget import NS_PER_MS
from shotclock.orchestrator.health.concurrency import ConcurrencyLimit

PREDICTED = 100 * NS_PER_MS


def make_limit_of_one(maximum: int = 5) -> ConcurrencyLimit:
    limit = ConcurrencyLimit(maximum)
    for _ in range(10):
        limit.record_overload()
    return limit


def test_it_starts_at_the_lanes_and_halves() -> None:
    limit = ConcurrencyLimit(5)
    limits = [limit.limit]
    for _ in range(3):
        limit.record_overload()
        limits.append(limit.limit)
    assert limits == [5, 2, 1, 1]


def test_a_limits_worth_of_good_jobs_raises_it_by_one() -> None:
    limit = make_limit_of_one(3)
    limit.record_finish(1, PREDICTED, PREDICTED)
    assert limit.limit == 2
    limit.record_finish(2, PREDICTED, PREDICTED)
    assert limit.limit == 2
    limit.record_finish(2, PREDICTED, PREDICTED)
    assert limit.limit == 3


@pytest.mark.parametrize(("latency_ms", "raised"), [(1, True), (150, True), (155, True), (156, False)])
def test_latency_far_from_the_prediction_is_no_reason_to_raise(latency_ms: int, raised: bool) -> None:
    limit = make_limit_of_one()
    limit.record_finish(1, latency_ms * NS_PER_MS, PREDICTED)
    assert (limit.limit == 2) is raised


def test_a_provider_that_answers_at_once_recovers() -> None:
    limit = make_limit_of_one()
    for _ in range(50):
        limit.record_finish(limit.limit, NS_PER_MS, 0)
    assert limit.limit == 5


@given(st.integers(2, 8), st.integers(1, 100))
def test_a_limit_that_was_not_made_use_of_is_not_raised(start: int, jobs: int) -> None:
    limit = ConcurrencyLimit(2 * start)
    limit.record_overload()
    for _ in range(jobs):
        limit.record_finish((start - 1) // 2, PREDICTED, PREDICTED)
    assert limit.limit == start


@given(
    st.integers(1, 8),
    st.lists(st.none() | st.tuples(st.integers(0, 8), st.integers(0, 300), st.integers(0, 300))),
)
def test_it_stays_between_one_and_the_lanes_and_moves_the_right_way(
    maximum: int, events: list[tuple[int, int, int] | None]
) -> None:
    limit = ConcurrencyLimit(maximum)
    for event in events:
        before = limit.limit
        if event is None:
            limit.record_overload()
            assert limit.limit == max(1, before // 2)
        else:
            inflight, latency_ms, predicted_ms = event
            limit.record_finish(inflight, latency_ms * NS_PER_MS, predicted_ms * NS_PER_MS)
            assert before <= limit.limit <= before + 1
        assert 1 <= limit.limit <= maximum
