"""What the orchestrator adds to the Dispatcher contract: sharing jobs, health, records, draining.

On virtual time: the production code with a scripted provider, to the nanosecond.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from harness import LoopClock
from orchestra import N, System, asked, one, scripted, simulate
from shotclock.domain.budget import NS_PER_MS, NS_PER_S
from shotclock.domain.circuit import CircuitSpec, Samples
from shotclock.domain.errors import CircuitError, FaultKind, ProviderError
from shotclock.domain.ledger import LedgerState
from shotclock.domain.outcome import (
    Decision,
    Degraded,
    Done,
    Executed,
    Failed,
    Late,
    Outcome,
    ProviderFault,
    Rejection,
    Shed,
)
from shotclock.domain.ports import Accepted, Job
from shotclock.domain.stages import Stage
from shotclock.domain.status import BreakerState, Phase
from shotclock.domain.subproblem import Priority
from shotclock.orchestrator.answers import Fallback
from shotclock.orchestrator.ledger import MemoryLedger
from shotclock.orchestrator.planning import ShotLimits
from shotclock.providers.scripted import UNLIMITED, Fail, Never, Reply, ScriptedProvider

ONE_LANE = replace(UNLIMITED, lanes=1)
BUSY = Fail(ProviderError(FaultKind.TRANSIENT, "busy"))
LOST = Fail(ProviderError(FaultKind.AMBIGUOUS, "the line went dead"))


async def together(system: System, count: int, budget_ms: float = 1_000) -> list[Outcome]:
    return await asyncio.gather(*(system.orchestrator.solve(asked(seed, budget_ms)) for seed in range(count)))


# Sharing jobs


def test_calls_of_several_callers_share_a_job_and_each_gets_its_own_samples() -> None:
    def pool(state: int) -> Samples:
        bits = ((state >> np.arange(N)) & 1).astype(np.uint8)
        return Samples(bits[None, :], np.array([64]))

    async def work(system: System) -> tuple[list[Outcome], list[Job]]:
        return await together(system, 3), system.provider.jobs

    reply = Reply(0.05, tuple(pool(state) for state in (1, 2, 4)))
    outcomes, jobs = simulate(scripted(reply, batch_limit=4), work)
    (job,) = jobs
    (pub,) = job.pubs
    lines = [circuit.template.line for circuit in pub.circuits]
    assert len({qubit for line in lines for qubit in line}) == 3 * N
    for outcome, state in zip(outcomes, (1, 2, 4), strict=True):
        assert isinstance(outcome, Done)
        assert outcome.provenance.sharers == 3
        assert outcome.samples.pool[0] @ (1 << np.arange(N)) == state


def test_a_job_carries_no_more_than_its_limit() -> None:
    async def work(system: System) -> list[int]:
        await together(system, 4)
        return [len(job.circuits) for job in system.provider.jobs]

    assert simulate(scripted(batch_limit=3), work) == [3, 1]


def test_more_calls_than_lines_become_further_pubs_of_the_same_job() -> None:
    class Narrow(System):
        """Two lines, four calls a job."""

    async def work(system: System) -> list[list[int]]:
        await together(system, 4)
        return [[len(pub.circuits) for pub in job.pubs] for job in system.provider.jobs]

    assert simulate(scripted(batch_limit=4, lines=2), work) == [[2, 2]]


def test_a_young_batch_waits_for_more_and_an_old_one_goes() -> None:
    async def work(system: System) -> tuple[list[int], int]:
        async def later(seed: int, after_s: float) -> Outcome:
            await asyncio.sleep(after_s)
            return await system.orchestrator.solve(asked(seed, 1_000))

        outcomes = await asyncio.gather(later(0, 0.0), later(1, 0.004), later(2, 0.02))
        waited = outcomes[0].provenance.stages[0]
        assert waited.stage is Stage.ADMISSION_WAIT
        return [len(job.circuits) for job in system.provider.jobs], waited.duration_ns

    sizes, waited_ns = simulate(scripted(batch_limit=4, batch_age_ms=10), work)
    assert sizes == [2, 1]
    assert waited_ns == pytest.approx(10 * NS_PER_MS, rel=1e-6)


def test_calls_gather_while_the_qpu_is_busy_though_lanes_are_free() -> None:
    async def work(system: System) -> list[int]:
        async def later(seed: int) -> Outcome:
            await asyncio.sleep(0.006 * seed)
            return await system.orchestrator.solve(asked(seed, 1_000))

        await asyncio.gather(*map(later, range(6)))
        return [len(job.circuits) for job in system.provider.jobs]

    assert simulate(scripted(batch_limit=8, queue_limit=16), work) == [1, 5]


def test_a_batch_leaves_early_for_its_earliest_deadline() -> None:
    async def work(system: System) -> Outcome:
        return await system.orchestrator.solve(asked(budget_ms=70))

    outcome = simulate(scripted(batch_limit=4, batch_age_ms=60), work)
    assert isinstance(outcome, Done)
    assert outcome.provenance.stages[0].duration_ns == pytest.approx(15 * NS_PER_MS, abs=NS_PER_MS)


def test_one_caller_leaving_takes_nothing_from_those_it_shares_the_job_with() -> None:
    async def work(system: System) -> tuple[Outcome, Outcome, int]:
        long = asyncio.create_task(system.orchestrator.solve(asked(0, 500)))
        short = asyncio.create_task(system.orchestrator.solve(asked(1, 60)))
        return await long, await short, system.provider.cancels

    long, short, cancels = simulate(scripted(batch_limit=4, afterwards=Reply(0.3)), work)
    assert isinstance(long, Done)
    assert isinstance(short, Degraded)
    assert cancels == 0


def test_the_last_caller_leaving_cancels_the_shared_job() -> None:
    async def work(system: System) -> tuple[list[Outcome], int]:
        outcomes = await together(system, 3, budget_ms=80)
        await asyncio.sleep(0.001)
        return outcomes, system.provider.cancels

    outcomes, cancels = simulate(scripted(batch_limit=4, afterwards=Never()), work)
    assert all(isinstance(outcome, Degraded) for outcome in outcomes)
    assert cancels == 1


def test_a_faulty_sample_ends_its_own_call_alone() -> None:
    good = Samples(np.zeros((1, N), np.uint8), np.array([64]))
    few = Samples(np.zeros((1, N), np.uint8), np.array([63]))

    async def work(system: System) -> list[Outcome]:
        return await together(system, 2)

    first, second = simulate(scripted(Reply(0.05, (good, few)), batch_limit=4), work)
    assert isinstance(first, Done)
    assert isinstance(second, Degraded)
    assert isinstance(second.cause, ProviderFault)


# Who goes first


def test_a_full_queue_gives_up_a_low_priority_for_a_high_one() -> None:
    async def work(system: System) -> list[Outcome]:
        low = replace(asked(0, 5_000), priority=Priority.LOW)
        high = replace(asked(2, 5_000), priority=Priority.HIGH)
        return await asyncio.gather(*map(system.orchestrator.solve, (low, asked(1, 5_000), high)))

    low, normal, high = simulate(scripted(queue_limit=2, fallback=Fallback.NONE), work)
    assert isinstance(low, Shed)
    assert low.rejection.limit == "queue_limit"
    assert isinstance(normal, Done)
    assert isinstance(high, Done)


def test_a_crowded_queue_refuses_low_priorities_first() -> None:
    def crowded() -> System:
        provider = ScriptedProvider(LoopClock(), afterwards=Reply(0.05), limits=ONE_LANE, predicted_s=0.05)
        return System(provider, protected=True, queue_limit=64, overload_wait_ms=40, fallback=Fallback.NONE)

    async def work(system: System) -> tuple[Outcome, Outcome]:
        crowd = asyncio.create_task(together(system, 6, budget_ms=9_000))
        await asyncio.sleep(0.12)
        low = replace(asked(10, 9_000), priority=Priority.LOW)
        high = replace(asked(11, 9_000), priority=Priority.HIGH)
        both = await asyncio.gather(system.orchestrator.solve(low), system.orchestrator.solve(high))
        await crowd
        return both[0], both[1]

    low, high = simulate(crowded, work)
    assert isinstance(low, Shed)
    assert low.rejection.limit == "queue_wait"
    assert isinstance(high, Done)


# Health


def outage(fallback: Fallback = Fallback.RACE) -> Callable[[], System]:
    return scripted(*[BUSY] * 30, protected=True, fallback=fallback, predicted_s=0.05)


def test_a_dead_provider_is_left_alone_probed_once_and_trusted_again() -> None:
    async def work(system: System) -> tuple[list[Outcome], BreakerState, int, int, Outcome]:
        outcomes = [await system.orchestrator.solve(asked(seed)) for seed in range(12)]
        open_now = system.orchestrator.status().breaker
        before = system.provider.submits
        await asyncio.sleep(31)
        return outcomes, open_now, before, system.provider.pings, await system.orchestrator.solve(asked(99))

    outcomes, open_now, submits, pings, after = simulate(outage(), work)
    assert all(isinstance(outcome, Degraded) for outcome in outcomes)
    assert open_now is BreakerState.OPEN
    causes = [outcome.cause for outcome in outcomes if isinstance(outcome, Degraded)]
    assert isinstance(causes[-1], Rejection)
    assert causes[-1].limit == "breaker"
    assert 0 < causes[-1].retry_after_s <= 30
    assert submits < 12 * 3
    assert pings == 1
    assert not isinstance(after, Degraded) or after.cause != causes[-1]


def test_a_failing_probe_keeps_the_breaker_open() -> None:
    async def work(system: System) -> tuple[BreakerState, int]:
        system.provider.ping_error = ProviderError(FaultKind.TRANSIENT, "maintenance")
        for seed in range(12):
            await system.orchestrator.solve(asked(seed))
        await asyncio.sleep(31)
        return system.orchestrator.status().breaker, system.provider.submits

    state, submits = simulate(outage(), work)
    assert state is BreakerState.OPEN
    assert submits < 12 * 3


def test_attempts_stay_within_the_retry_budget() -> None:
    async def work(system: System) -> int:
        for seed in range(40):
            await system.orchestrator.solve(asked(seed, 10_000))
        return system.provider.submits

    submits = simulate(scripted(afterwards=BUSY, queue_limit=64), work)
    assert submits <= 1.1 * 40 + 10


# Fallback, cache, circuits


def test_a_standby_answer_comes_in_time_and_is_exercised_on_live_traffic() -> None:
    async def work(system: System) -> list[Outcome]:
        return [await system.orchestrator.solve(asked(seed)) for seed in range(400)]

    outcomes = simulate(scripted(fallback=Fallback.STANDBY), work)
    exercised = sum(isinstance(one, Done) and one.classical is not None for one in outcomes)
    assert 1 <= exercised <= 12


def test_an_equal_call_is_answered_from_the_samples_of_the_first() -> None:
    async def work(system: System) -> tuple[Outcome, Outcome, int]:
        first = await system.orchestrator.solve(asked(1))
        again = await system.orchestrator.solve(replace(asked(1), request_id="other"))
        assert system.value("hybrid_call_success_ratio") == 0.5  # the QPU was asked for one of the two
        return first, again, system.provider.submits

    first, again, submits = simulate(scripted(results=8), work)
    assert isinstance(first, Done)
    assert isinstance(again, Done)
    assert submits == 1
    assert again.provenance.cached
    assert not first.provenance.cached
    assert again.answer.energy == first.answer.energy


def test_a_shorter_rep_delay_is_taken_where_nothing_else_fits_and_said() -> None:
    class ByTheDelay(ScriptedProvider):
        """A shot takes its rep_delay."""

        def predict_s(self, job: Job) -> float:
            return job.shots * (
                self.limits.rep_delay_default_s if job.rep_delay_s is None else job.rep_delay_s
            )

    def system() -> System:
        limits = replace(UNLIMITED, rep_delay_default_s=250e-6)
        provider = ByTheDelay(LoopClock(), afterwards=Reply(0.01), limits=limits)
        return System(
            provider, protected=True, shots=ShotLimits(1000, 1000), shorter_rep_delays_s=(100e-6, 50e-6)
        )

    roomy, tight = one(system, budget_ms=400), one(system, budget_ms=130)
    assert isinstance(roomy, Done)
    assert not roomy.provenance.penalised
    assert isinstance(tight, Done)
    assert tight.provenance.penalised
    hopeless = one(system, budget_ms=30)
    assert isinstance(hopeless, Degraded)
    assert isinstance(hopeless.cause, Rejection)


def test_a_circuit_of_the_callers_own_is_executed() -> None:
    async def work(system: System) -> object:
        return await system.orchestrator.execute(CircuitSpec("OPENQASM 3.0;", 64, budget_ns=NS_PER_S))

    outcome = simulate(scripted(), work)
    assert isinstance(outcome, Executed)
    assert outcome.samples.pool.shape[1] == 2
    assert outcome.samples.shots == 64


def test_a_circuit_that_cannot_run_is_the_callers_to_mend_and_one_that_does_not_come_is_late() -> None:
    async def work(system: System) -> object:
        with pytest.raises(CircuitError, match="source"):
            await system.orchestrator.execute(CircuitSpec("nonsense", 64, budget_ns=NS_PER_S))
        return await system.orchestrator.execute(CircuitSpec("OPENQASM 3.0;", 64, budget_ns=NS_PER_S // 10))

    assert isinstance(simulate(scripted(afterwards=Never()), work), Late)


# Draining


def test_a_drain_finishes_what_was_accepted_and_refuses_what_comes() -> None:
    async def work(system: System) -> tuple[Outcome, Outcome, tuple[int, int], Phase, Outcome]:
        accepted = asyncio.create_task(system.orchestrator.solve(asked(0)))
        await asyncio.sleep(0.01)
        draining = asyncio.create_task(system.orchestrator.drain(NS_PER_S))
        await asyncio.sleep(0.01)
        refused = await system.orchestrator.solve(asked(1))
        drained = await draining
        phase = system.orchestrator.status().phase
        system.orchestrator.resume()
        counts = (drained.finished, drained.handed_back)
        return await accepted, refused, counts, phase, await system.orchestrator.solve(asked(2))

    accepted, refused, counts, phase, after = simulate(scripted(fallback=Fallback.NONE), work)
    assert isinstance(accepted, Done)
    assert isinstance(refused, Shed)
    assert refused.rejection.limit == "drain"
    assert counts == (1, 0)
    assert phase is Phase.DRAINED
    assert isinstance(after, Done)


def test_a_drain_hands_back_what_it_cannot_finish() -> None:
    async def work(system: System) -> tuple[list[Outcome], tuple[int, int], int]:
        calls = asyncio.create_task(together(system, 3, budget_ms=60_000))
        await asyncio.sleep(0.01)
        drained = await system.orchestrator.drain(NS_PER_S)
        return await calls, (drained.finished, drained.handed_back), system.provider.cancels

    outcomes, counts, cancels = simulate(scripted(afterwards=Never()), work)
    assert all(isinstance(one, Degraded) and isinstance(one.cause, Rejection) for one in outcomes)
    assert counts == (0, 3)
    assert cancels == 3


# Paid jobs


class Paid(ScriptedProvider):
    """Costs money. lost: how many submits take effect although their answer is lost."""

    lost = 0

    async def submit(self, job: Job) -> Accepted:
        accepted = await super().submit(job)
        if self.lost:
            self.lost -= 1
            raise ProviderError(FaultKind.AMBIGUOUS, "the line went dead")
        return accepted


def paid(*steps: Reply | Fail | Never, ledger: MemoryLedger, lost: int = 0) -> Callable[[], System]:
    def make() -> System:
        limits = replace(UNLIMITED, paid=True)
        provider = Paid(LoopClock(), steps, afterwards=Reply(0.05), limits=limits, predicted_s=0.05)
        provider.lost = lost
        return System(provider, ledger=ledger, batch_limit=4)

    return make


def memory() -> MemoryLedger:
    return MemoryLedger(lambda: 0.0)


def states(ledger: MemoryLedger) -> list[LedgerState]:
    return [record.after for record in ledger.history]


def test_a_paid_job_is_written_down_before_it_is_submitted_and_closed_by_the_models_decision() -> None:
    ledger = memory()
    seen_at_submit: list[list[LedgerState]] = []

    class Watching(Paid):
        async def submit(self, job: Job) -> Accepted:
            seen_at_submit.append(states(ledger))
            return await super().submit(job)

    def make() -> System:
        limits = replace(UNLIMITED, paid=True)
        return System(Watching(LoopClock(), afterwards=Reply(0.05), limits=limits), ledger=ledger)

    async def work(system: System) -> None:
        await system.orchestrator.solve(asked(1))
        await system.orchestrator.decided("r1", Decision.APPLIED)

    simulate(make, work)
    assert seen_at_submit == [[LedgerState.INTENT]]
    assert states(ledger) == [
        LedgerState.INTENT,
        LedgerState.SUBMITTED,
        LedgerState.RESULT,
        LedgerState.APPLIED,
    ]


@pytest.mark.parametrize(
    ("decisions", "end"),
    [
        ((Decision.REVALIDATED, Decision.REJECTED), LedgerState.APPLIED),
        ((Decision.DROPPED, Decision.CONFLICT), LedgerState.STALE),
        ((Decision.DROPPED,), LedgerState.STALE),
        ((), LedgerState.STALE),
    ],
)
def test_a_shared_job_is_applied_if_any_of_its_answers_was(
    decisions: tuple[Decision, ...], end: LedgerState
) -> None:
    ledger = memory()

    async def work(system: System) -> int:
        await together(system, 2)
        for number, decision in enumerate(decisions):
            await system.orchestrator.decided(f"r{number}", decision)
        return system.provider.submits

    assert simulate(paid(ledger=ledger), work) == 1
    assert states(ledger)[-1] is end


def test_a_lost_answer_is_adopted_by_its_tag_and_never_submitted_again() -> None:
    ledger = memory()

    async def work(system: System) -> tuple[Outcome, int]:
        return await system.orchestrator.solve(asked(1, 1_000)), system.provider.submits

    outcome, submits = simulate(paid(ledger=ledger, lost=1), work)
    assert isinstance(outcome, Done)
    assert submits == 1
    assert states(ledger)[:3] == [LedgerState.INTENT, LedgerState.SUBMITTED, LedgerState.RESULT]


def test_what_is_ambiguous_is_parked() -> None:
    ledger = memory()

    async def work(system: System) -> tuple[Outcome, int]:
        return await system.orchestrator.solve(asked(1, 5_000)), system.provider.submits

    outcome, submits = simulate(paid(LOST, ledger=ledger), work)
    assert isinstance(outcome, Degraded)
    assert submits == 1
    assert states(ledger) == [LedgerState.INTENT, LedgerState.PARKED]


def test_every_attempt_has_an_intent_of_its_own() -> None:
    ledger = memory()

    async def work(system: System) -> Outcome:
        return await system.orchestrator.solve(asked(1, 5_000))

    assert isinstance(simulate(paid(BUSY, ledger=ledger), work), Done)
    assert len({record.tag for record in ledger.history}) == 2
    assert states(ledger).count(LedgerState.FAILED) == 1


def test_a_cancelled_paid_job_is_recorded_as_such() -> None:
    ledger = memory()

    async def work(system: System) -> int:
        await system.orchestrator.solve(asked(1, 80))
        await asyncio.sleep(0.01)
        return system.provider.cancels

    assert simulate(paid(Never(), ledger=ledger), work) == 1
    assert states(ledger)[-1] is LedgerState.FAILED


def test_without_a_ledger_that_can_be_written_nothing_is_paid() -> None:
    class Full(MemoryLedger):
        async def intend(self, record: object) -> None:
            from shotclock.domain.ledger import LedgerError

            raise LedgerError("no space left on the device")

    async def work(system: System) -> tuple[list[Outcome], int]:
        first = await system.orchestrator.solve(asked(1))
        return [first, await system.orchestrator.solve(asked(2))], system.provider.submits

    outcomes, submits = simulate(paid(ledger=Full(lambda: 0.0)), work)
    assert submits == 0
    for outcome in outcomes:
        assert isinstance(outcome, Degraded)
        assert outcome.cause == ProviderFault("no space left on the device")


def test_a_fault_without_a_fallback_fails() -> None:
    assert isinstance(one(scripted(LOST, fallback=Fallback.NONE), budget_ms=5_000), Failed)
