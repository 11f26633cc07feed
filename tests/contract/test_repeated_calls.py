"""A call whose orchestrator was lost is answered from the job that was paid for it; on virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np

from harness import LoopClock
from shotclock.domain.accounting import MoneyRules, Origin, TenantQuota
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.circuit_batch import CircuitBatch, CircuitPoints
from shotclock.domain.outcome import (
    TENANT_QUOTA,
    CircuitOutcome,
    Degraded,
    Done,
    Executed,
    Outcome,
    ProviderFault,
    Rejection,
)
from shotclock.domain.ports import Accepted, Execution
from shotclock.orchestrator.ledger.limits import SharedLimits
from shotclock.orchestrator.ledger.memory import MemoryLedger
from shotclock.providers.scripted import UNLIMITED, Reply, ScriptedProvider
from virtual_orchestrator import System, make_subproblem, simulate


class Vendor(ScriptedProvider):
    """Costs money, and keeps every job and its samples for whoever asks by tag."""

    def __init__(self, *, is_listed: bool = True) -> None:
        limits = replace(UNLIMITED, paid=True)
        super().__init__(LoopClock(), afterwards=Reply(0.05), limits=limits, predicted_s=0.05)
        self._ended: dict[str, Execution] = {}
        self._is_listed = is_listed

    async def find(self, tag: str) -> tuple[Accepted, ...]:
        if not self._is_listed:
            return ()
        return tuple(Accepted(f"scripted-{number}") for number, job in enumerate(self.jobs) if job.tag == tag)

    async def collect(self, accepted: Accepted) -> Execution:
        if accepted.job_id not in self._ended:
            self._ended[accepted.job_id] = await super().collect(accepted)
        return self._ended[accepted.job_id]


class OthersLanes:
    """The ledger is another orchestrator's too; its lanes are free."""

    async def wait_for_lane(self, provider: str) -> None:
        del provider


def make(*, is_shared: bool = True, is_listed: bool = True, quota_s: float | None = None) -> System:
    ledger = MemoryLedger(lambda: asyncio.get_running_loop().time())
    if quota_s is not None:
        quotas = {"ada": TenantQuota(qpu_s=quota_s)}
        ledger.limit("scripted", SharedLimits(money=MoneyRules(quotas=quotas)))
    lanes = OthersLanes() if is_shared else None
    return System(Vendor(is_listed=is_listed), ledger=ledger, lanes=lanes, batch_limit=4)


async def solve(system: System, count: int = 1, repeats: int = 0) -> list[Outcome]:
    origin = Origin(repeats=repeats, age_s=1.0 if repeats else 0.0)
    calls = (replace(make_subproblem(seed), origin=origin) for seed in range(count))
    return await asyncio.gather(*(system.orchestrator.solve(call) for call in calls))


def test_each_call_of_a_shared_job_gets_its_own_samples_and_nothing_is_paid_again() -> None:
    async def work(system: System) -> tuple[list[Outcome], list[Outcome], int]:
        first = await solve(system, 3)
        return first, await solve(system, 3, repeats=1), system.provider.submits

    first, again, submits = simulate(make, work)
    assert submits == 1
    for earlier, other in zip(first, again, strict=True):
        assert isinstance(earlier, Done)
        assert isinstance(other, Done)
        assert (other.samples.pool == earlier.samples.pool).all()
        assert other.provenance.job_id == earlier.provenance.job_id == "scripted-0"


def test_a_job_that_cannot_be_found_leaves_the_classical_answer() -> None:
    async def work(system: System) -> tuple[list[Outcome], int]:
        await solve(system)
        return await solve(system, repeats=1), system.provider.submits

    (outcome,), submits = simulate(lambda: make(is_listed=False), work)
    assert isinstance(outcome, Degraded)
    assert submits == 1


def test_a_call_that_nobody_has_paid_for_is_submitted() -> None:
    async def work(system: System) -> tuple[list[Outcome], int]:
        return await solve(system, 2, repeats=1), system.provider.submits

    outcomes, submits = simulate(make, work)
    assert [type(outcome) for outcome in outcomes] == [Done, Done]
    assert submits == 1


def test_an_orchestrator_with_a_ledger_that_it_shares_with_nobody_submits_no_repeated_call() -> None:
    async def work(system: System) -> tuple[list[Outcome], int]:
        return await solve(system, repeats=1), system.provider.submits

    (outcome,), submits = simulate(lambda: make(is_shared=False), work)
    assert isinstance(outcome, Degraded)
    why = "this orchestrator shares its ledger with no other, so that it is not submitted again"
    assert outcome.cause == ProviderFault(why)
    assert submits == 0


def test_a_caller_over_its_quota_leaves_the_job_to_the_others() -> None:
    async def work(system: System) -> list[Outcome]:
        calls = [replace(make_subproblem(seed), caller=name) for seed, name in enumerate(("ada", "bob"))]
        return await asyncio.gather(*(system.orchestrator.solve(call) for call in calls))

    over, served = simulate(lambda: make(quota_s=0.01), work)
    assert isinstance(over, Degraded)
    assert isinstance(over.cause, Rejection)
    assert over.cause.limit == TENANT_QUOTA
    assert isinstance(served, Done)
    assert served.provenance.sharers == 1


def test_each_job_of_a_repeated_batch_answers_its_own_points_and_answered_ones_are_not_run() -> None:
    origin = Origin(repeats=1, age_s=1.0)
    circuits = tuple(CircuitPoints("x", shots, ("a",), np.zeros((3, 1))) for shots in (64, 32, 16))
    batch = CircuitBatch(circuits, "b", 60 * NS_PER_S)

    async def ask(system: System, batch: CircuitBatch) -> dict[int, CircuitOutcome]:
        outcomes: dict[int, CircuitOutcome] = {}
        await system.orchestrator.execute_batch(batch, outcomes.__setitem__)
        return outcomes

    async def work(system: System) -> None:
        first = await ask(system, replace(batch, circuits=circuits[:2]))
        assert system.provider.submits == 2
        again = await ask(system, replace(batch, origin=origin, answered=frozenset({0, 1})))
        assert system.provider.submits == 3  # of the last circuit, which nobody has paid for
        assert sorted(again) == [2, 3, 4, 5, 6, 7, 8]
        for index, outcome in again.items():
            assert isinstance(outcome, Executed)
            assert outcome.samples.shots == (64, 32, 16)[index // 3]
            if index < 6:
                assert outcome.provenance.job_id == first[index].provenance.job_id
        last = await ask(system, replace(batch, origin=origin, answered=frozenset(range(9))))
        assert not last
        assert system.provider.submits == 3

    simulate(make, work)
