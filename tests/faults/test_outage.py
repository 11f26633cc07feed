"""An outage in the middle of open-loop load, and a pulse, on virtual time with the production code.

Poisson arrivals, 100 a second, a deadline of 200 ms, the classical race on; the emulated QPU refuses,
hangs or gets ten times slower for half a minute.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from fault_injection import DEADLINE_MS, QUEUE_LIMIT, Illness, Spell, Story, live_through
from harness import FACTS, run_virtual
from shotclock.domain.status import BreakerState
from shotclock.orchestrator.health.retry import RetryBudget

BEFORE, OUTAGE, AFTER = 20.0, 30.0, 70.0
ENDS = BEFORE + OUTAGE
SETTLED = 2.0
"""The first calls find an empty house; the baseline is taken after them."""
LEGAL = {
    (BreakerState.CLOSED, BreakerState.OPEN),
    (BreakerState.OPEN, BreakerState.HALF_OPEN),
    # a probe's answer may come between two callers' looks
    (BreakerState.OPEN, BreakerState.CLOSED),
    (BreakerState.HALF_OPEN, BreakerState.CLOSED),
    (BreakerState.HALF_OPEN, BreakerState.OPEN),
}


def outage(illness: Illness, seed: int = 1) -> Story:
    return run_virtual(live_through(Spell(BEFORE), Spell(OUTAGE, illness=illness), Spell(AFTER), seed=seed))


@pytest.fixture(
    scope="module", params=[one for one in Illness if one is not Illness.NONE], ids=lambda one: one.name
)
def story(request: pytest.FixtureRequest) -> Story:
    return outage(request.param)


def test_every_call_has_an_answer_by_its_deadline_and_fallbacks_say_so(story: Story) -> None:
    assert len(story.rows) >= 10_000
    assert story.in_time() >= 0.999
    during = Counter(row.quantum for row in story.rows if BEFORE + 1 <= row.due_s < ENDS - 1)
    assert during[False] > 0.9 * during.total()
    assert set(story.endings()) <= {
        "Done",
        "breaker",
        "remaining_budget",
        "shots_to_fit",
        "queue_wait",
        "DeadlinePassed",
        "ProviderFault",
    }


def test_the_qpu_answers_nearly_all_before_and_again_within_a_minute_of_the_end(story: Story) -> None:
    assert story.share(SETTLED, BEFORE - DEADLINE_MS / 1e3) >= 0.9
    assert story.measure_recovery_s(ENDS, 0.9) <= 60
    assert story.share(ENDS + 65, ENDS + AFTER) >= 0.9


def test_the_breaker_opens_and_closes_by_itself_with_one_status_call_a_half_opening(story: Story) -> None:
    seen = [state for _, state in story.states]
    assert seen[0] is BreakerState.CLOSED
    assert BreakerState.OPEN in seen
    assert seen[-1] is BreakerState.CLOSED
    assert set(pairwise(seen)) <= LEGAL
    assert story.pings_at_once == 1
    assert 1 <= story.pings <= 4


def test_attempts_and_queues_stay_bounded(story: Story) -> None:
    jobs = story.submits - story.retries
    assert story.retries <= 0.1 * jobs + RetryBudget().tokens
    assert story.submits <= 1.1 * len(story.rows) + RetryBudget().tokens
    assert story.most_waiting <= QUEUE_LIMIT
    assert story.most_running <= FACTS.lanes


def test_the_same_seed_tells_the_same_story_and_another_seed_another() -> None:
    one, again, other = (outage_in_brief(seed) for seed in (1, 1, 2))
    assert one.trace_hash() == again.trace_hash()
    assert one.trace_hash() != other.trace_hash()


def outage_in_brief(seed: int) -> Story:
    return run_virtual(live_through(Spell(5), Spell(5, illness=Illness.REFUSES), Spell(5), seed=seed))


def test_after_a_pulse_of_three_times_the_load_the_goodput_is_back_within_ten_seconds() -> None:
    story = run_virtual(live_through(Spell(BEFORE), Spell(30, rate=300), Spell(20)))
    pulse_ends = BEFORE + 30
    assert story.in_time() >= 0.999
    baseline = story.share(SETTLED, BEFORE)
    assert baseline >= 0.9
    assert story.share(pulse_ends + 10, pulse_ends + 20) >= 0.95 * baseline
    assert story.goodput(BEFORE, pulse_ends) >= story.goodput(SETTLED, BEFORE)
    assert story.most_waiting <= QUEUE_LIMIT
    assert story.share(BEFORE + 1, pulse_ends) < baseline
