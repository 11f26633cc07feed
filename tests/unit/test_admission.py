"""Decisions without I/O: admission, overload, submission bucket, deadlines."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotclock.domain.budget import NS_PER_MS, NS_PER_S, Deadline
from shotclock.domain.subproblem import Priority
from shotclock.orchestrator.admission import (
    QueueLoad,
    QueueWait,
    admit,
    explain_displacement,
    overload,
    predict_s,
)
from shotclock.orchestrator.health.bucket import TokenBucket

LOW, NORMAL, HIGH = Priority.LOW, Priority.NORMAL, Priority.HIGH


def load(waiting: int = 0, ahead_s: float = 0.0, service_p95_s: float = 0.1, batch: int = 1) -> QueueLoad:
    return QueueLoad(waiting, 1, ahead_s, 5, service_p95_s, batch)


def test_a_refused_call_gets_the_limit_and_when_to_retry() -> None:
    assert (
        str(explain_displacement(load(), 4))
        == "queue_limit: 4 calls waiting against a limit of 4; retry in 0.1 s"
    )


@given(st.integers(0, 20), st.floats(0, 5), st.floats(0.001, 10), st.floats(0.001, 100))
def test_shedding_admits_exactly_what_predictably_finishes(
    waiting: int, ahead_s: float, service_s: float, budget_s: float
) -> None:
    rejection = admit(load(waiting, ahead_s, service_s), round(budget_s * NS_PER_S))
    fits = ahead_s + (waiting + 1) * service_s <= round(budget_s * NS_PER_S) / NS_PER_S
    assert (rejection is None) == fits


@pytest.mark.parametrize(
    ("waiting", "ahead", "jobs"), [(0, 0, 1), (7, 0, 1), (8, 0, 2), (7, 2, 3), (16, 1, 4)]
)
def test_calls_that_share_a_job_wait_for_it_once(waiting: int, ahead: int, jobs: int) -> None:
    assert predict_s(load(waiting, ahead * 0.5, 0.5, batch=8)) == 0.5 * jobs


def test_a_call_that_cannot_finish_gets_the_budget_left_and_the_time_it_takes() -> None:
    rejection = admit(load(waiting=3, ahead_s=0.1), 200 * NS_PER_MS)
    assert rejection is not None
    assert str(rejection) == ("remaining_budget: 0.5 s predicted p95 against a limit of 0.2; retry in 0.4 s")


@pytest.mark.parametrize(
    ("mean_ms", "refused"),
    [(0, set()), (20, set()), (21, {LOW}), (40, {LOW}), (41, {LOW, NORMAL}), (10_000, {LOW, NORMAL})],
)
def test_overload_refuses_low_first_then_normal_and_never_high(mean_ms: int, refused: set[Priority]) -> None:
    threshold = 20 * NS_PER_MS
    assert {
        priority for priority in Priority if overload(mean_ms * NS_PER_MS, threshold, priority)
    } == refused


def test_an_overloaded_queue_names_its_limit() -> None:
    assert str(overload(50 * NS_PER_MS, 20 * NS_PER_MS, NORMAL)) == (
        "queue_wait: 0.05 s mean queue wait against a limit of 0.04; retry in 1 s"
    )


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, NS_PER_S))), st.integers(0, 12))
def test_the_mean_queue_wait_is_of_the_last_second(leavings: list[tuple[int, int]], later: int) -> None:
    """On instants that are multiples of 100 ms the slices are the exact second."""
    waits, now, history = QueueWait(), 0, []
    for gap, wait in leavings:
        now += gap * 100 * NS_PER_MS
        waits.observe(wait, now)
        history.append((now, wait))
    now += later * 100 * NS_PER_MS
    recent = [wait for at, wait in history if now - at < NS_PER_S]
    assert waits.mean_ns(now) == (math.floor(sum(recent) / len(recent)) if recent else 0)


def test_a_bucket_allows_a_minutes_burst_and_then_the_rate() -> None:
    bucket = TokenBucket(5)
    waits = [bucket.reserve_ns(0) for _ in range(7)]
    assert waits == [0, 0, 0, 0, 0, 12 * NS_PER_S, 24 * NS_PER_S]
    # a minute later the two owed tokens are paid back and three are left
    later = [bucket.reserve_ns(60 * NS_PER_S) for _ in range(4)]
    assert later == [0, 0, 0, 12 * NS_PER_S]


def test_no_limit_never_waits() -> None:
    bucket = TokenBucket(None)
    assert {bucket.reserve_ns(0) for _ in range(100)} == {0}


def test_a_deadline_never_leaves_less_than_nothing() -> None:
    deadline = Deadline.after(5, NS_PER_MS)
    assert deadline.remaining_ns(5) == NS_PER_MS
    assert deadline.remaining_ns(2 * NS_PER_MS) == 0
