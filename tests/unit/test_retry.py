"""Backoff and the retry budget: attempts ≤ 1.1 × requests + burst (I6)."""

from __future__ import annotations

import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.orchestrator.health.retry import CAP_S, RetryBudget, backoff_ns


@given(st.integers(1, 10), st.integers(0, 2**32))
def test_backoff_is_jittered_capped_and_within_the_budget(attempt: int, seed: int) -> None:
    fault = ProviderError(FaultKind.TRANSIENT, "busy")
    wait = backoff_ns(fault, attempt, 11, 100 * NS_PER_S, random.Random(seed))
    assert wait is not None
    assert 0 <= wait <= min(CAP_S, 0.1 * 2 ** (attempt - 1)) * NS_PER_S
    assert backoff_ns(fault, attempt, 11, 0, random.Random(seed)) is None


def test_the_last_attempt_is_not_followed_by_another() -> None:
    fault = ProviderError(FaultKind.TRANSIENT, "busy")
    assert backoff_ns(fault, 2, 3, NS_PER_S, random.Random(0)) is not None
    assert backoff_ns(fault, 3, 3, NS_PER_S, random.Random(0)) is None


@pytest.mark.parametrize("kind", [FaultKind.PERMANENT, FaultKind.AMBIGUOUS])
def test_what_may_have_taken_effect_is_not_tried_again(kind: FaultKind) -> None:
    assert backoff_ns(ProviderError(kind, ""), 1, 3, NS_PER_S, random.Random(0)) is None


@given(st.lists(st.integers(0, 3), max_size=400))
def test_attempts_stay_within_a_tenth_of_the_requests_and_the_burst(failures: list[int]) -> None:
    """Each request's first `failures` attempts fail; it takes at most 3 attempts, as the budget allows."""
    budget = RetryBudget()
    attempts = 0
    for requests, failing in enumerate(failures, start=1):
        sent = 1
        while sent <= failing and sent < 3 and budget.take():
            sent += 1
        attempts += sent
        if not failing:
            budget.record_first_success()
        assert 10 * attempts <= 11 * requests + 10 * 10


def test_an_outage_is_retried_for_the_burst_and_no_longer() -> None:
    budget = RetryBudget()
    assert sum(budget.take() for _ in range(1000)) == 10
    assert budget.tokens == 0


@given(st.integers(0, 500))
def test_ten_first_successes_pay_for_exactly_one_retry(successes: int) -> None:
    budget = RetryBudget()
    while budget.take():
        pass
    for _ in range(successes):
        budget.record_first_success()
    assert sum(budget.take() for _ in range(100)) == min(10, successes // 10)


def test_no_capacity_means_no_retries() -> None:
    budget = RetryBudget(capacity=0)
    budget.record_first_success()
    assert not budget.take()


@given(st.floats(0.0, 60.0), st.integers(0, 2**32))
def test_the_wait_is_no_shorter_than_the_vendor_asks_for(retry_after_s: float, seed: int) -> None:
    fault = ProviderError(FaultKind.TRANSIENT, "busy", retry_after_s)
    wait = backoff_ns(fault, 1, 3, 100 * NS_PER_S, random.Random(seed))
    assert wait is not None
    assert wait >= round(retry_after_s * NS_PER_S)
    remaining = max(0, round(retry_after_s * NS_PER_S) - 1)
    assert backoff_ns(fault, 1, 3, remaining, random.Random(seed)) is None


def test_a_fault_keeps_what_it_says_between_processes() -> None:
    fault = pickle.loads(pickle.dumps(ProviderError(FaultKind.TRANSIENT, "busy", 7.0)))
    assert (fault.kind, str(fault), fault.retry_after_s) == (FaultKind.TRANSIENT, "busy", 7.0)
