"""Paid jobs whose callers have gone, when the cancel is slow, fails or hangs: every record still ends."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from harness import LoopClock, run_virtual
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.domain.ledger import LedgerState
from shotclock.domain.ports import Accepted
from shotclock.domain.status import Phase
from shotclock.orchestrator.ledger.job_journal import PaidJobs
from shotclock.orchestrator.ledger.memory import MemoryLedger
from shotclock.orchestrator.pipeline import CANCEL_LIMIT_S
from shotclock.providers.scripted import UNLIMITED, Never, ScriptedProvider
from virtual_orchestrator import System, make_subproblem, simulate

HANGS = float("inf")


class HangingCancel(ScriptedProvider):
    """Paid jobs that never end, and a cancel that takes its time or fails."""

    def __init__(self, cancel_s: float, *, fails: bool) -> None:
        super().__init__(LoopClock(), afterwards=Never(), limits=replace(UNLIMITED, paid=True))
        self._cancel_s = cancel_s
        self._fails = fails
        self.cancelled = 0

    async def cancel(self, accepted: Accepted) -> None:
        if self._cancel_s == HANGS:
            await asyncio.Event().wait()
        await asyncio.sleep(self._cancel_s)
        if self._fails:
            raise ProviderError(FaultKind.TRANSIENT, "503: try later")
        await super().cancel(accepted)
        self.cancelled += 1


def drain_and_stop(provider_s: float, *, fails: bool = False) -> tuple[list[LedgerState], str, int]:
    """A call handed back by a drain, then a stop: its record's states and note, cancels that took effect."""
    ledger = MemoryLedger(lambda: 0.0)
    provider: list[HangingCancel] = []

    def make() -> System:
        provider.append(HangingCancel(provider_s, fails=fails))
        return System(provider[0], ledger=ledger)

    async def work(system: System) -> None:
        call = asyncio.create_task(system.orchestrator.solve(make_subproblem(1, 60_000)))
        await asyncio.sleep(0.01)
        await system.orchestrator.drain(100 * NS_PER_MS)
        await call
        await system.orchestrator.stop()
        assert system.orchestrator.status().phase is Phase.DRAINED

    simulate(make, work)
    return [change.after for change in ledger.history], ledger.history[-1].note, provider[0].cancelled


@pytest.mark.parametrize("cancel_s", [0.0, 0.3, CANCEL_LIMIT_S * 0.9])
def test_a_stop_does_not_interrupt_a_cancel(cancel_s: float) -> None:
    states, note, cancelled = drain_and_stop(cancel_s)
    assert states == [LedgerState.INTENT, LedgerState.SUBMITTED, LedgerState.FAILED]
    assert note == "cancelled: all its callers had cancelled"
    assert cancelled == 1


@pytest.mark.parametrize(("cancel_s", "words"), [(0.1, "503: try later"), (HANGS, "no answer within 2 s")])
def test_a_job_that_cannot_be_cancelled_is_parked(cancel_s: float, words: str) -> None:
    states, note, _ = drain_and_stop(cancel_s, fails=True)
    assert states == [LedgerState.INTENT, LedgerState.SUBMITTED, LedgerState.PARKED]
    assert words in note


def test_a_parked_job_is_reported_once_it_is_recorded() -> None:
    reports: list[str] = []
    ledger = MemoryLedger(lambda: 0.0)

    async def work() -> None:
        journal = PaidJobs(ledger, "scripted", reports.append)
        await journal.intend("shotclock:one", ("r1",), 64)
        journal.park("shotclock:one", "no job carries the tag")
        assert reports == []
        await journal.wait_settled()

    run_virtual(work())
    (report,) = reports
    assert "shotclock:one is parked: no job carries the tag" in report
    assert "shotclock jobs settle" in report
    assert ledger.history[-1].after is LedgerState.PARKED


def test_status_can_be_asked_before_anything_is_warm() -> None:
    async def work(system: System) -> None:
        fresh = System(system.provider)
        status = fresh.orchestrator.status()
        assert status.phase is Phase.STARTING
        assert status.service_p95_s == 0.0

    simulate(lambda: System(ScriptedProvider(LoopClock())), work)
