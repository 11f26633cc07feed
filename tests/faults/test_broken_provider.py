"""A provider that breaks its promises: raises what it must not, or never comes back from a submit.

Somebody else's module: its mistakes cost calls, never the service.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from harness import LoopClock
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.domain.ledger import LedgerState
from shotclock.domain.outcome import Degraded, Done
from shotclock.domain.ports import Accepted, Execution, Job
from shotclock.domain.status import BreakerState
from shotclock.orchestrator.ledger.memory import MemoryLedger
from shotclock.providers.scripted import UNLIMITED, Fail, Reply, ScriptedProvider
from virtual_orchestrator import System, make_scripted, make_subproblem, simulate

BUSY = Fail(ProviderError(FaultKind.TRANSIENT, "busy"))


class RaisingProvider(ScriptedProvider):
    """Predicts, or raises what no provider may raise."""

    sound = True

    def predict_s(self, job: Job) -> float:
        if not self.sound:
            raise ZeroDivisionError("shots a second")
        return super().predict_s(job)


def test_a_prediction_that_raises_ends_its_own_call_and_the_next_one_flies() -> None:
    def make() -> System:
        return System(RaisingProvider(LoopClock(), afterwards=Reply(0.05)))

    async def work(system: System) -> None:
        provider: Any = system.provider
        provider.sound = False
        with pytest.raises(ZeroDivisionError):
            await system.orchestrator.solve(make_subproblem(1, 5_000))
        provider.sound = True
        assert isinstance(await system.orchestrator.solve(make_subproblem(2, 5_000)), Done)

    simulate(make, work)


class NoStatusProvider(ScriptedProvider):
    """Has no status call at first, and one later."""

    async def ping(self) -> None:
        await super().ping()
        if self.pings == 1:
            raise NotImplementedError


def test_a_status_call_that_raises_anything_is_a_failed_one_and_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def make() -> System:
        return System(NoStatusProvider(LoopClock(), [BUSY] * 30), protected=True)

    async def work(system: System) -> list[BreakerState]:
        for seed in range(12):
            await system.orchestrator.solve(make_subproblem(seed))
        states = []
        for _ in range(2):
            await asyncio.sleep(31)
            states.append(system.orchestrator.status().breaker)
        return states

    assert simulate(make, work) == [BreakerState.OPEN, BreakerState.CLOSED]
    assert "the status call raised an error" in caplog.text


def test_nobody_tries_again_at_a_provider_that_was_marked_unhealthy_meanwhile() -> None:
    async def work(system: System) -> tuple[int, list[str]]:
        outcomes = await asyncio.gather(
            *(system.orchestrator.solve(make_subproblem(seed, 9_000)) for seed in range(5))
        )
        assert system.orchestrator.status().breaker is BreakerState.OPEN
        return system.provider.submits, [type(outcome).__name__ for outcome in outcomes]

    submits, endings = simulate(make_scripted(*[BUSY] * 30, queue_limit=8, protected=True), work)
    assert submits == 5
    assert endings == ["Degraded"] * 5


class HangingSubmit(ScriptedProvider):
    """A paid provider whose submits never return."""

    async def submit(self, job: Job) -> Accepted:
        self.submits += 1
        await asyncio.Event().wait()
        raise AssertionError("an event that nobody sets was set")


def test_a_submit_that_never_comes_back_holds_neither_drain_nor_stop_and_keeps_its_intent() -> None:
    ledger = MemoryLedger(lambda: 0.0)

    def make() -> System:
        return System(HangingSubmit(LoopClock(), limits=replace(UNLIMITED, paid=True)), ledger=ledger)

    async def work(system: System) -> float:
        call = asyncio.create_task(system.orchestrator.solve(make_subproblem(1, 60_000)))
        await asyncio.sleep(0.01)
        async with asyncio.timeout(60):
            await system.orchestrator.drain(NS_PER_S)
            await system.orchestrator.stop()
        assert isinstance(await call, Degraded)
        return asyncio.get_running_loop().time()

    assert simulate(make, work) < 10
    assert [record.after for record in ledger.history] == [LedgerState.INTENT]


class BreakingProvider(ScriptedProvider):
    """A paid provider that raises what no provider may, in the chosen method."""

    where = ""

    async def submit(self, job: Job) -> Accepted:
        accepted = await super().submit(job)
        if self.where == "submit":
            raise TypeError("'NoneType' object is not subscriptable")
        return accepted

    async def collect(self, accepted: Accepted) -> Execution:
        if self.where == "collect":
            raise KeyError("results")
        return await super().collect(accepted)

    async def find(self, tag: str) -> tuple[Accepted, ...]:
        if self.where == "submit":
            raise AttributeError("jobs")
        return await super().find(tag)


@pytest.mark.parametrize("where", ["submit", "collect"])
def test_whatever_a_paid_provider_raises_the_call_has_its_fallback_and_the_record_is_closed(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = MemoryLedger(lambda: 0.0)

    def make() -> System:
        limits = replace(UNLIMITED, paid=True)
        provider = BreakingProvider(LoopClock(), afterwards=Reply(0.05), limits=limits)
        provider.where = where
        return System(provider, ledger=ledger)

    async def work(system: System) -> int:
        assert isinstance(await system.orchestrator.solve(make_subproblem(1, 60_000)), Degraded)
        return system.provider.submits

    assert simulate(make, work) == 1
    assert ledger.history[-1].after is LedgerState.PARKED
    assert "raised an unexpected exception" in caplog.text


def test_retry_after_is_waited_for_within_the_deadline_and_not_past_it() -> None:
    def work(budget_ms: float) -> tuple[str, int, float]:
        async def one(system: System) -> tuple[str, int, float]:
            outcome = await system.orchestrator.solve(make_subproblem(1, budget_ms))
            return type(outcome).__name__, system.provider.submits, asyncio.get_running_loop().time()

        return simulate(make_scripted(Fail(ProviderError(FaultKind.TRANSIENT, "busy", 3.0))), one)

    name, submits, at_s = work(60_000)
    assert (name, submits) == ("Done", 2)
    assert at_s >= 3.0
    name, submits, at_s = work(2_000)
    assert (name, submits) == ("Degraded", 1)
    assert at_s <= 2.0


def test_a_lost_submit_is_looked_for_until_a_list_that_lags_shows_it() -> None:
    class LaggingSearch(ScriptedProvider):
        searches = 0

        async def submit(self, job: Job) -> Accepted:
            await super().submit(job)
            raise ProviderError(FaultKind.AMBIGUOUS, "the line went dead")

        async def find(self, tag: str) -> tuple[Accepted, ...]:
            self.searches += 1
            return await super().find(tag) if self.searches > 5 else ()

    def make() -> System:
        return System(LaggingSearch(LoopClock(), afterwards=Reply(0.05)))

    async def work(system: System) -> int:
        assert isinstance(await system.orchestrator.solve(make_subproblem(1, 60_000)), Done)
        return system.provider.submits

    assert simulate(make, work) == 1
