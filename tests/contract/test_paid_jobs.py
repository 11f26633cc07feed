"""What is written down of a paid job on its way, and when; on virtual time, with a ledger in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness import LoopClock
from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.domain.ledger import LedgerState
from shotclock.domain.outcome import (
    Decision,
    Degraded,
    Done,
    Outcome,
    ProviderFault,
)
from shotclock.domain.ports import Accepted, Job
from shotclock.orchestrator.ledger.memory import MemoryLedger
from shotclock.providers.scripted import UNLIMITED, Fail, Never, Reply, ScriptedProvider
from virtual_orchestrator import System, make_subproblem, simulate

BUSY = Fail(ProviderError(FaultKind.TRANSIENT, "busy"))
LOST = Fail(ProviderError(FaultKind.AMBIGUOUS, "the line went dead"))


async def solve_together(system: System, count: int, budget_ms: float = 1_000) -> list[Outcome]:
    return await asyncio.gather(
        *(system.orchestrator.solve(make_subproblem(seed, budget_ms)) for seed in range(count))
    )


class Paid(ScriptedProvider):
    """Costs money. lost: how many submits take effect although their answer is lost."""

    lost = 0

    async def submit(self, job: Job) -> Accepted:
        accepted = await super().submit(job)
        if self.lost:
            self.lost -= 1
            raise ProviderError(FaultKind.AMBIGUOUS, "the line went dead")
        return accepted


def make_paid_system(
    *steps: Reply | Fail | Never, ledger: MemoryLedger, lost: int = 0
) -> Callable[[], System]:
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

    class RecordingProvider(Paid):
        async def submit(self, job: Job) -> Accepted:
            seen_at_submit.append(states(ledger))
            return await super().submit(job)

    def make() -> System:
        limits = replace(UNLIMITED, paid=True)
        return System(RecordingProvider(LoopClock(), afterwards=Reply(0.05), limits=limits), ledger=ledger)

    async def work(system: System) -> None:
        await system.orchestrator.solve(make_subproblem(1))
        await system.orchestrator.record_decision("r1", Decision.APPLIED)

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
        await solve_together(system, 2)
        for number, decision in enumerate(decisions):
            await system.orchestrator.record_decision(f"r{number}", decision)
        return system.provider.submits

    assert simulate(make_paid_system(ledger=ledger), work) == 1
    assert states(ledger)[-1] is end


def test_a_lost_answer_is_adopted_by_its_tag_and_never_submitted_again() -> None:
    ledger = memory()

    async def work(system: System) -> tuple[Outcome, int]:
        return await system.orchestrator.solve(make_subproblem(1, 1_000)), system.provider.submits

    outcome, submits = simulate(make_paid_system(ledger=ledger, lost=1), work)
    assert isinstance(outcome, Done)
    assert submits == 1
    assert states(ledger)[:3] == [LedgerState.INTENT, LedgerState.SUBMITTED, LedgerState.RESULT]


def test_what_is_ambiguous_is_parked() -> None:
    ledger = memory()

    async def work(system: System) -> tuple[Outcome, int]:
        return await system.orchestrator.solve(make_subproblem(1, 5_000)), system.provider.submits

    outcome, submits = simulate(make_paid_system(LOST, ledger=ledger), work)
    assert isinstance(outcome, Degraded)
    assert submits == 1
    assert states(ledger) == [LedgerState.INTENT, LedgerState.PARKED]


def test_every_attempt_has_a_separate_intent() -> None:
    ledger = memory()

    async def work(system: System) -> Outcome:
        return await system.orchestrator.solve(make_subproblem(1, 5_000))

    assert isinstance(simulate(make_paid_system(BUSY, ledger=ledger), work), Done)
    assert len({record.tag for record in ledger.history}) == 2
    assert states(ledger).count(LedgerState.FAILED) == 1


def test_a_cancelled_paid_job_is_recorded_as_such() -> None:
    ledger = memory()

    async def work(system: System) -> int:
        await system.orchestrator.solve(make_subproblem(1, 80))
        await asyncio.sleep(0.01)
        return system.provider.cancels

    assert simulate(make_paid_system(Never(), ledger=ledger), work) == 1
    assert states(ledger)[-1] is LedgerState.FAILED


def test_without_a_ledger_that_can_be_written_nothing_is_paid() -> None:
    class FullLedger(MemoryLedger):
        async def intend(self, record: object) -> None:
            from shotclock.domain.ledger import LedgerError

            raise LedgerError("no space left on the device")

    async def work(system: System) -> tuple[list[Outcome], int]:
        first = await system.orchestrator.solve(make_subproblem(1))
        return [first, await system.orchestrator.solve(make_subproblem(2))], system.provider.submits

    outcomes, submits = simulate(make_paid_system(ledger=FullLedger(lambda: 0.0)), work)
    assert submits == 0
    for outcome in outcomes:
        assert isinstance(outcome, Degraded)
        assert outcome.cause == ProviderFault("no space left on the device")
