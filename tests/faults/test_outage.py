"""An outage in the middle of open-loop load, and a pulse, on virtual time with the production code.

Poisson arrivals, 100 a second, a deadline of 200 ms, the classical race on; the emulated QPU refuses,
hangs or gets ten times slower for half a minute.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from fault_injection import DEADLINE_MS, QUEUE_LIMIT, LoadPhase, LoadRecord, OutageKind, run_phases
from harness import FACTS, run_virtual
from shotclock.domain.status import BreakerState
from shotclock.orchestrator.health.retry import RetryBudget

BEFORE, OUTAGE, AFTER = 20.0, 30.0, 70.0
ENDS = BEFORE + OUTAGE
SETTLED = 2.0
"""The first calls meet no load; the baseline is taken after them."""
LEGAL = {
    (BreakerState.CLOSED, BreakerState.OPEN),
    (BreakerState.OPEN, BreakerState.HALF_OPEN),
    # a probe's answer may come between two callers' looks
    (BreakerState.OPEN, BreakerState.CLOSED),
    (BreakerState.HALF_OPEN, BreakerState.CLOSED),
    (BreakerState.HALF_OPEN, BreakerState.OPEN),
}


def run_outage(outage: OutageKind, seed: int = 1) -> LoadRecord:
    return run_virtual(
        run_phases(LoadPhase(BEFORE), LoadPhase(OUTAGE, outage=outage), LoadPhase(AFTER), seed=seed)
    )


@pytest.fixture(
    scope="module",
    params=[kind for kind in OutageKind if kind is not OutageKind.NONE],
    ids=lambda kind: kind.name,
)
def record(request: pytest.FixtureRequest) -> LoadRecord:
    return run_outage(request.param)


def test_every_call_has_an_answer_by_its_deadline_and_fallbacks_say_so(record: LoadRecord) -> None:
    assert len(record.rows) >= 10_000
    assert record.in_time() >= 0.999
    during = Counter(row.quantum for row in record.rows if BEFORE + 1 <= row.due_s < ENDS - 1)
    assert during[False] > 0.9 * during.total()
    assert set(record.endings()) <= {
        "Done",
        "breaker",
        "remaining_budget",
        "shots_to_fit",
        "queue_wait",
        "DeadlinePassed",
        "ProviderFault",
    }


def test_the_qpu_answers_nearly_all_before_and_again_within_a_minute_of_the_end(record: LoadRecord) -> None:
    assert record.share(SETTLED, BEFORE - DEADLINE_MS / 1e3) >= 0.9
    assert record.measure_recovery_s(ENDS, 0.9) <= 60
    assert record.share(ENDS + 65, ENDS + AFTER) >= 0.9


def test_the_breaker_opens_and_closes_by_itself_with_one_status_call_a_half_opening(
    record: LoadRecord,
) -> None:
    states = [state for _, state in record.states]
    assert states[0] is BreakerState.CLOSED
    assert BreakerState.OPEN in states
    assert states[-1] is BreakerState.CLOSED
    assert set(pairwise(states)) <= LEGAL
    assert record.pings_at_once == 1
    assert 1 <= record.pings <= 4


def test_attempts_and_queues_stay_bounded(record: LoadRecord) -> None:
    jobs = record.submits - record.retries
    assert record.retries <= 0.1 * jobs + RetryBudget().tokens
    assert record.submits <= 1.1 * len(record.rows) + RetryBudget().tokens
    assert record.most_waiting <= QUEUE_LIMIT
    assert record.most_running <= FACTS.lanes


def test_the_same_seed_tells_the_same_story_and_another_seed_another() -> None:
    first, again, other = (run_short_outage(seed) for seed in (1, 1, 2))
    assert first.trace_hash() == again.trace_hash()
    assert first.trace_hash() != other.trace_hash()


def run_short_outage(seed: int) -> LoadRecord:
    return run_virtual(
        run_phases(LoadPhase(5), LoadPhase(5, outage=OutageKind.REFUSES), LoadPhase(5), seed=seed)
    )


def test_after_a_pulse_of_three_times_the_load_the_goodput_is_back_within_ten_seconds() -> None:
    record = run_virtual(run_phases(LoadPhase(BEFORE), LoadPhase(30, rate=300), LoadPhase(20)))
    pulse_ends = BEFORE + 30
    assert record.in_time() >= 0.999
    baseline = record.share(SETTLED, BEFORE)
    assert baseline >= 0.9
    assert record.share(pulse_ends + 10, pulse_ends + 20) >= 0.95 * baseline
    assert record.goodput(BEFORE, pulse_ends) >= record.goodput(SETTLED, BEFORE)
    assert record.most_waiting <= QUEUE_LIMIT
    assert record.share(BEFORE + 1, pulse_ends) < baseline
