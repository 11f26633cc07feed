"""Faults under a real `shotclock serve` that pays for its jobs: a full disk, a vendor that is away."""

from __future__ import annotations

import asyncio
import signal
import urllib.request
from dataclasses import replace
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from harness import random_subproblem
from killing import HANG_S, Calls, N, Place, Verdict, read_records, run_callers, wait_settled
from paid_provider import ProviderAccount, vendor
from served import ServiceProcess
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.ledger import LedgerState
from shotclock.domain.outcome import Degraded, Outcome, ProviderFault
from shotclock.wire.channels import connect
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.tls import Insecure

PATIENCE_S = 60.0
"""Of a caller: what comes back is never a matter of its deadline."""
ROOM = 300_000
"""Bytes a file may have: some dozens of jobs."""


async def ask(place: Place, count: int) -> list[Outcome]:
    """So many calls, one after the other."""
    channels = connect(place.target, Insecure())
    dispatcher = GrpcDispatcher(channels)
    budget_ns = round(PATIENCE_S * NS_PER_S)
    subproblem = replace(random_subproblem(N, 1), budget_ns=budget_ns, fresh=True)
    try:
        return [await dispatcher.solve(subproblem) for _ in range(count)]
    finally:
        await channels.close()


def states(place: Place) -> set[LedgerState]:
    return {record.state for record in read_records(place.ledger)}


async def stop(serving: ServiceProcess) -> tuple[int, str, str]:
    serving.process.send_signal(signal.SIGTERM)
    return await serving.wait_ended()


async def read_stopped(metrics: str) -> float:
    """`shotclock_ledger_stopped`; KeyError where it is absent."""
    with await asyncio.to_thread(urllib.request.urlopen, metrics) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    values = {family.name: family.samples[0].value for family in families if family.samples}
    return float(values["shotclock_ledger_stopped"])


async def fill_disk(place: Place) -> tuple[ServiceProcess, str, str]:
    """A service under load that can write no more, what it said then, and the URL of its metrics."""
    serving, over = await place.start(lean=True), asyncio.Event()
    serving.go()
    port = (await serving.wait_for_event("listening"))["http_port"]
    await serving.wait_for_event("ready")
    metrics = f"http://127.0.0.1:{port}/metrics"
    assert await read_stopped(metrics) == 0
    serving.files_up_to(ROOM)
    load = asyncio.create_task(run_callers(place.target, over, 1, Calls()))
    trouble = await serving.wait_for_event("trouble")
    over.set()
    await load
    return serving, str(trouble["what"]), metrics


async def fill(place: Place, account: ProviderAccount) -> None:
    serving, words, metrics = await fill_disk(place)
    assert await read_stopped(metrics) == 1
    assert "no more jobs are submitted" in words
    assert str(place.ledger) in words
    paid = len(account.list_paid())
    for outcome in await ask(place, 5):
        assert isinstance(outcome, Degraded)
        assert isinstance(outcome.cause, ProviderFault)
        assert str(place.ledger) in outcome.cause.message
    assert len(account.list_paid()) == paid
    code, out, err = await stop(serving)
    assert (code, err) == (0, "")
    assert '"trouble"' not in out  # once is enough


async def resume_with_space(place: Place) -> None:
    """With room again: what was left open is settled, and calls are paid for again."""
    serving = await place.start(lean=True)
    serving.go()
    await serving.wait_for_event("ready")
    assert not any(isinstance(outcome, Degraded) for outcome in await ask(place, 3))
    await wait_settled(place.ledger)
    code, _, err = await stop(serving)
    assert (code, err) == (0, "")


def test_a_full_disk_is_said_once_nothing_is_paid_for_any_more_and_nothing_is_lost(tmp_path: Path) -> None:
    with vendor(tmp_path, answer_s=0.02, run_s=0.05) as account:
        place = Place.at(tmp_path, account)
        asyncio.run(fill(place, account))
        verdict = Verdict.of(place.ledger, account)
        assert len(verdict.paid) > 5
        assert verdict.find_lost_jobs() == set()
        asyncio.run(resume_with_space(place))
        verdict = Verdict.of(place.ledger, account)
    assert verdict.find_lost_jobs() == set()
    assert verdict.find_paid_twice() == set()
    assert verdict.find_unfinished() == []
    assert verdict.find_disordered() == []


def test_a_ledger_that_cannot_grow_at_the_start_is_one_line(tmp_path: Path) -> None:
    async def start(place: Place) -> tuple[int, str, str]:
        serving = await place.start(lean=True)
        serving.files_up_to(4096)
        serving.go()
        return await serving.wait_ended()

    with vendor(tmp_path) as account:
        place = Place.at(tmp_path, account)
        code, out, err = asyncio.run(start(place))
    assert (code, out) == (3, "")
    (line,) = err.splitlines()
    assert str(place.ledger) in line


def test_jobs_left_with_a_vendor_that_is_away_stay_in_the_ledger_and_do_not_hold_the_service(
    tmp_path: Path,
) -> None:
    async def start_and_stop(place: Place) -> None:
        serving = await place.start(lean=True)
        serving.go()
        await serving.wait_for_event("ready")
        calls = asyncio.create_task(ask(place, 1))
        async with asyncio.timeout(HANG_S):
            while LedgerState.SUBMITTED not in states(place):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
        await serving.kill()
        await calls

    async def serve_without(place: Place) -> list[Outcome]:
        serving = await place.start(lean=True)
        serving.go()
        await serving.wait_for_event("ready")
        outcomes = await ask(place, 2)
        code, _, err = await stop(serving)
        assert code == 0
        assert all("breaker opened: " in line for line in err.splitlines()), err
        return outcomes

    with vendor(tmp_path, run_s=60) as account:
        place = Place.at(tmp_path, account)
        asyncio.run(start_and_stop(place))
    outcomes = asyncio.run(serve_without(place))
    assert all(isinstance(outcome, Degraded) for outcome in outcomes)
    assert "cannot be reached" in str([getattr(outcome, "cause", "") for outcome in outcomes])
    verdict = Verdict.of(place.ledger, account)
    (record,) = [record for record in verdict.records if record.job_id]
    assert record.state is LedgerState.SUBMITTED
