"""What SIGTERM, Ctrl-C and a second signal do to a real `shotclock serve` with paid jobs under way."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from dataclasses import replace
from pathlib import Path
from socket import AF_UNIX, SOCK_DGRAM

import pytest

from harness import random_subproblem
from killing import Place, Verdict, read_records
from paid_provider import vendor
from served import START_S, ServiceProcess
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.ledger import TERMINAL
from shotclock.domain.outcome import Done, Outcome
from shotclock.wire.channels import connect
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.operations import GrpcOperations
from shotclock.wire.tls import Insecure


async def wait_accepted(place: Place, count: int) -> None:
    """Waits until so many calls were accepted."""
    operations = GrpcOperations(connect(place.target, Insecure()))
    async with asyncio.timeout(START_S):
        async for status in operations.watch(START_S):
            if status.accepted >= count:
                break
    await operations.close()


async def start_with_calls(place: Place, count: int) -> tuple[ServiceProcess, list[asyncio.Task[Outcome]]]:
    serving = await place.start(lean=True)
    serving.go()
    await serving.wait_for_event("ready")
    dispatcher = GrpcDispatcher(connect(place.target, Insecure()))
    calls = [
        asyncio.create_task(dispatcher.solve(replace(random_subproblem(6, seed), budget_ns=600 * NS_PER_S)))
        for seed in range(count)
    ]
    await wait_accepted(place, count)
    return serving, calls


def test_sigterm_ends_every_accepted_call_and_closes_every_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def terminate(place: Place) -> tuple[list[Outcome], tuple[int, str, str]]:
        serving, calls = await start_with_calls(place, 12)
        serving.process.send_signal(signal.SIGTERM)
        outcomes = await asyncio.gather(*calls)
        return outcomes, await serving.wait_ended()

    with vendor(tmp_path, run_s=1.0) as account, socket.socket(AF_UNIX, SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "600000000")  # the loop reports at once, and every five minutes
        place = Place.at(tmp_path, account)
        place.config.write_text(place.config.read_text().replace("drain_s = 5", "drain_s = 600"))
        outcomes, (code, out, err) = asyncio.run(terminate(place))
        verdict = Verdict.of(place.ledger, account)
        reports = [manager.recv(64) for _ in range(3)]
    assert sorted(reports[:2]) == [b"READY=1", b"WATCHDOG=1"]
    assert reports[2] == b"STOPPING=1"
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert (code, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["handed_back"] == 0
    assert verdict.paid
    assert verdict.find_lost_jobs() == set()
    assert verdict.find_unfinished() == []


def test_a_drain_that_runs_out_of_time_hands_calls_back_and_gives_their_jobs_up(tmp_path: Path) -> None:
    async def terminate(place: Place) -> tuple[list[Outcome], tuple[int, str, str]]:
        serving, calls = await start_with_calls(place, 3)
        serving.process.send_signal(signal.SIGINT)
        outcomes = await asyncio.gather(*calls)
        return outcomes, await serving.wait_ended()

    with vendor(tmp_path, run_s=1000.0) as account:
        place = Place.at(tmp_path, account)
        place.config.write_text(place.config.read_text().replace("drain_s = 5", "drain_s = 0.5"))
        outcomes, (code, out, err) = asyncio.run(terminate(place))
    assert [type(outcome).__name__ for outcome in outcomes] == ["Degraded"] * 3
    assert (code, err) == (0, "")
    assert json.loads(out.splitlines()[-1]) == {"event": "drained", "finished": 0, "handed_back": 3}
    assert {record.state for record in read_records(place.ledger)} <= TERMINAL


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    async def terminate(place: Place) -> tuple[int, str, str]:
        serving, calls = await start_with_calls(place, 2)
        serving.process.send_signal(signal.SIGTERM)
        await serving.wait_for_event("draining")
        serving.process.send_signal(signal.SIGTERM)
        ended = await serving.wait_ended()
        await asyncio.gather(*calls)
        return ended

    with vendor(tmp_path, run_s=1000.0) as account:
        place = Place.at(tmp_path, account)
        place.config.write_text(place.config.read_text().replace("drain_s = 5", "drain_s = 600"))
        code, out, err = asyncio.run(terminate(place))
    assert (code, out) == (-signal.SIGTERM, "")
    assert "Traceback" not in err
