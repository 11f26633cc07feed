"""The breaker: legal transitions only, one probe at a time, no job unless closed (I9)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.status import BreakerState
from shotclock.orchestrator.health.breaker import Breaker

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def make_open_breaker(now_ns: int = 0, seed: int = 0) -> Breaker:
    breaker = Breaker(random.Random(seed))
    for _ in range(5):
        breaker.record_failure(now_ns)
    return breaker


def reopen(breaker: Breaker, now_ns: int) -> int:
    """Waits for the probe, lets it pass, fails five jobs at once, and returns the instant."""
    now_ns += breaker.retry_after_ns(now_ns)
    assert breaker.probe_due(now_ns)
    breaker.record_probe(True, now_ns)
    for _ in range(5):
        breaker.record_failure(now_ns)
    return now_ns


def test_a_provider_that_is_away_is_asked_as_often_as_before() -> None:
    breaker, now = make_open_breaker(), 0
    for _ in range(20):
        now += breaker.retry_after_ns(now)
        assert breaker.probe_due(now)
        breaker.record_probe(False, now)
        assert 24 * NS_PER_S <= breaker.retry_after_ns(now) <= 30 * NS_PER_S


def test_the_fifth_failure_in_a_row_opens() -> None:
    breaker = Breaker(random.Random(0))
    for number in range(4):
        breaker.record_failure(number)
    assert breaker.allows(4)
    breaker.record_success(4)
    for number in range(4):
        breaker.record_failure(number)
    assert breaker.allows(9)
    breaker.record_failure(9)
    assert breaker.state(9) is OPEN


@given(st.integers(0, 2**32))
def test_ejections_grow_by_30_s_up_to_300_s_jittered_downward(seed: int) -> None:
    breaker, now = make_open_breaker(seed=seed), 0
    for opening in range(1, 15):
        longest = min(30 * opening, 300) * NS_PER_S
        assert 0.8 * longest <= breaker.retry_after_ns(now) <= longest
        now = reopen(breaker, now)


def test_jitter_differs_from_one_breaker_to_another() -> None:
    assert len({make_open_breaker(seed=seed).retry_after_ns(0) for seed in range(20)}) == 20


@pytest.mark.parametrize(("healthy_s", "next_opening"), [(29, 4), (30, 3), (89, 2), (90, 1), (10_000, 1)])
def test_every_healthy_30_s_take_one_opening_back(healthy_s: int, next_opening: int) -> None:
    breaker = make_open_breaker()
    now = reopen(breaker, reopen(breaker, 0))
    now += breaker.retry_after_ns(now)
    assert breaker.probe_due(now)
    breaker.record_probe(True, now)
    now += healthy_s * NS_PER_S
    for _ in range(5):
        breaker.record_failure(now)
    longest = 30 * next_opening * NS_PER_S
    assert 0.8 * longest <= breaker.retry_after_ns(now) <= longest


def test_after_a_long_outage_the_count_is_no_more_than_the_cap_is_worth() -> None:
    breaker, now = make_open_breaker(), 0
    for _ in range(50):
        now = reopen(breaker, now)
    now += breaker.retry_after_ns(now)
    assert breaker.probe_due(now)
    breaker.record_probe(True, now)
    now += 300 * NS_PER_S
    for _ in range(5):
        breaker.record_failure(now)
    assert breaker.retry_after_ns(now) <= 30 * NS_PER_S


def test_reports_of_jobs_from_before_the_opening_change_nothing() -> None:
    breaker = make_open_breaker()
    waits = breaker.retry_after_ns(0)
    for _ in range(10):
        breaker.record_failure(1)
        breaker.record_success(1)
    assert breaker.retry_after_ns(0) == waits
    for _ in range(10):
        breaker.record_success(waits)
        breaker.record_failure(waits)
    assert breaker.state(waits) is HALF_OPEN


def test_closing_resets_the_count_of_failures() -> None:
    breaker = make_open_breaker()
    now = breaker.retry_after_ns(0)
    assert breaker.probe_due(now)
    breaker.record_probe(True, now)
    for _ in range(4):
        breaker.record_failure(now)
    assert breaker.allows(now)


def test_an_answer_nobody_asked_for_is_a_bug() -> None:
    breaker = make_open_breaker()
    with pytest.raises(RuntimeError, match="probe_due"):
        breaker.record_probe(True, 0)
    assert breaker.state(0) is OPEN


class AnyHistory(RuleBasedStateMachine):
    """Jobs, probes and time in any order, beside a model that says only which moves are legal."""

    @initialize(seed=st.integers(0, 2**16))
    def begin(self, seed: int) -> None:
        self.breaker = Breaker(random.Random(seed))
        self.now = 0
        self.expected = CLOSED
        self.failures = 0
        self.probes = 0
        self.ends = 0

    def opens(self) -> None:
        self.expected, self.failures = OPEN, 0
        wait = self.breaker.retry_after_ns(self.now)
        assert 24 * NS_PER_S <= wait <= 300 * NS_PER_S
        self.ends = self.now + wait

    @rule(seconds=st.sampled_from([0, 1, 23, 30, 299, 301]), ns=st.integers(0, 3))
    def time_passes(self, seconds: int, ns: int) -> None:
        self.now += seconds * NS_PER_S + ns
        if self.expected is OPEN and self.now >= self.ends:
            self.expected = HALF_OPEN

    @rule(times=st.integers(1, 6))
    def jobs_fail(self, times: int) -> None:
        for _ in range(times):
            self.breaker.record_failure(self.now)
            if self.expected is CLOSED:
                self.failures += 1
                if self.failures == 5:
                    self.opens()

    @rule()
    def a_job_succeeds(self) -> None:
        self.breaker.record_success(self.now)
        self.failures = 0

    @rule(times=st.integers(1, 3))
    def asks_to_probe(self, times: int) -> None:
        for _ in range(times):
            is_probe_due = self.expected is HALF_OPEN and self.probes == 0
            assert self.breaker.probe_due(self.now) is is_probe_due
            self.probes += is_probe_due

    @precondition(lambda self: getattr(self, "probes", 0) > 0)
    @rule(ok=st.booleans())
    def the_probe_answers(self, ok: bool) -> None:
        self.breaker.record_probe(ok, self.now)
        self.probes -= 1
        if ok:
            self.expected, self.failures = CLOSED, 0
        else:
            self.opens()

    @invariant()
    def the_state_is_the_legal_one(self) -> None:
        assert self.breaker.state(self.now) is self.expected

    @invariant()
    def no_job_passes_unless_closed(self) -> None:
        assert self.breaker.allows(self.now) is (self.expected is CLOSED)

    @invariant()
    def the_wait_ends_with_the_ejection(self) -> None:
        wait = self.breaker.retry_after_ns(self.now)
        assert wait == (self.ends - self.now if self.expected is OPEN else 0)

    @invariant()
    def at_most_one_probe_is_out(self) -> None:
        assert self.probes <= 1


TestAnyHistory = AnyHistory.TestCase
