"""Decisions without I/O: admission, submission bucket, backoff, learned service time."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotclock.domain.budget import NS_PER_MS, NS_PER_S, Deadline
from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.orchestrator.admission import Load, admit
from shotclock.orchestrator.bucket import TokenBucket
from shotclock.orchestrator.latency import ServiceTime
from shotclock.orchestrator.retry import CAP_S, backoff_ns


def load(waiting: int = 0, running: int = 0, service_p95_s: float = 0.1) -> Load:
    return Load(waiting, running, 5, service_p95_s)


def test_a_full_queue_refuses_even_with_shedding_off() -> None:
    rejection = admit(load(waiting=4), 4, 10 * NS_PER_S, shedding=False)
    assert rejection is not None
    assert rejection.limit == "queue_limit"
    assert admit(load(waiting=3), 4, 0, shedding=False) is None


@given(st.integers(0, 20), st.integers(0, 5), st.floats(0.001, 10), st.floats(0.001, 100))
def test_shedding_admits_exactly_what_predictably_finishes(
    waiting: int, running: int, service_s: float, budget_s: float
) -> None:
    rejection = admit(load(waiting, running, service_s), 64, round(budget_s * NS_PER_S), shedding=True)
    fits = (waiting + running + 1) * service_s <= round(budget_s * NS_PER_S) / NS_PER_S
    assert (rejection is None) == fits


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


@given(st.integers(1, 10), st.integers(0, 2**32))
def test_backoff_is_jittered_capped_and_within_the_budget(attempt: int, seed: int) -> None:
    fault = ProviderError(FaultKind.TRANSIENT, "busy")
    wait = backoff_ns(fault, attempt, 11, 100 * NS_PER_S, random.Random(seed))
    assert wait is not None
    assert 0 <= wait <= min(CAP_S, 0.1 * 2 ** (attempt - 1)) * NS_PER_S
    assert backoff_ns(fault, attempt, 11, 0, random.Random(seed)) is None


@pytest.mark.parametrize("kind", [FaultKind.PERMANENT, FaultKind.AMBIGUOUS])
def test_what_may_have_taken_effect_is_not_tried_again(kind: FaultKind) -> None:
    assert backoff_ns(ProviderError(kind, ""), 1, 3, NS_PER_S, random.Random(0)) is None


def test_service_time_is_the_prediction_until_it_has_been_seen() -> None:
    seen = ServiceTime()
    for number in range(19):
        seen.observe(float(number))
    assert seen.p95_s(7.0) == 7.0
    seen.observe(19.0)
    assert seen.p95_s(7.0) == 18.0


def test_a_deadline_never_leaves_less_than_nothing() -> None:
    deadline = Deadline.after(5, NS_PER_MS)
    assert deadline.remaining_ns(5) == NS_PER_MS
    assert deadline.remaining_ns(2 * NS_PER_MS) == 0
