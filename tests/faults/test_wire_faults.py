"""Damaged payloads, a lost or silent orchestrator, bugs behind it, broken certificate files."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certificates import SERVER, TRAINER, Site, put, write
from harness import random_subproblem
from mtls_loopback import Loopback, ScriptedDispatcher, ScriptedOperations, never, open_mtls_loopback, zeros
from served import free_port
from shotclock.app.host_failure import FailingMemory
from shotclock.domain.budget import NS_PER_MS, NS_PER_S
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.circuit_batch import CircuitBatch, CircuitPoints
from shotclock.domain.errors import MachineError
from shotclock.domain.ledger import LedgerError
from shotclock.domain.outcome import (
    Answer,
    CircuitOutcome,
    Decision,
    Degraded,
    Done,
    Executed,
    Failed,
    Late,
    Outcome,
    Winner,
)
from shotclock.domain.subproblem import Subproblem
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder
from shotclock.wire import codec, methods, outcomes
from shotclock.wire.certificates import LiveIdentity, TlsFiles, load, utc_now
from shotclock.wire.channels import connect
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.operations import GrpcOperations
from shotclock.wire.server import serve
from shotclock.wire.tls import ClientTls, Insecure

LONG_NS = 60 * NS_PER_S
CIRCUIT = CircuitSpec(b"QISKIT", 100, request_id="c1", budget_ns=LONG_NS)


def make_subproblem(budget_ns: int = LONG_NS) -> Subproblem:
    return replace(random_subproblem(6, 1), request_id="r1", base_version=7, budget_ns=budget_ns)


def run(site: Site, work: Callable[[Loopback], Awaitable[None]]) -> None:
    async def main() -> None:
        async with open_mtls_loopback(site) as system:
            await work(system)

    asyncio.run(main())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.at(tmp_path)


def damage_first(encode: Callable[..., Any], times: int) -> tuple[Callable[..., Any], list[Any]]:
    """The encoder, whose first results are damaged; and every message it made."""
    messages: list[Any] = []

    def damage(*words: Any) -> Any:
        message = encode(*words)
        messages.append(message)
        if len(messages) <= times:
            message.crc32c ^= 1
        return message

    return damage, messages


@pytest.mark.parametrize(("times", "kind", "attempts"), [(0, Done, 1), (2, Done, 3), (99, Failed, 3)])
def test_a_request_damaged_on_its_way_is_sent_again_a_few_times(
    site: Site, monkeypatch: pytest.MonkeyPatch, times: int, kind: type[Outcome], attempts: int
) -> None:
    damaged, messages = damage_first(codec.encode_subproblem, times)
    monkeypatch.setattr("shotclock.wire.client.encode_subproblem", damaged)

    async def work(system: Loopback) -> None:
        assert isinstance(await system.trainer().solve(make_subproblem()), kind)
        assert len(messages) == attempts
        assert system.dispatcher.solved == (kind is Done)

    run(site, work)


def test_a_damaged_circuit_is_sent_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged, messages = damage_first(codec.encode_circuit, 1)
    monkeypatch.setattr("shotclock.wire.client.encode_circuit", damaged)

    async def work(system: Loopback) -> None:
        assert isinstance(await system.trainer().execute(CIRCUIT), Executed)
        assert len(messages) == 2
        assert len(system.dispatcher.circuits) == 1

    run(site, work)


@pytest.mark.parametrize("harm", ["crc", "bits"])
def test_a_damaged_answer_is_not_asked_for_again(
    site: Site, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    def damage(outcome: Outcome, shift_ns: int) -> Any:
        message = outcomes.encode_outcome(outcome, shift_ns)
        if harm == "crc":
            message.done.samples.crc32c ^= 1
        else:
            message.done.answer.bits = b"\1"
        return message

    monkeypatch.setattr("shotclock.wire.service.encode_outcome", damage)

    async def work(system: Loopback) -> None:
        outcome = await system.trainer().solve(make_subproblem())
        assert isinstance(outcome, Failed)
        assert "unusable answer" in outcome.cause.message
        assert isinstance(await system.trainer(fallback=zeros).solve(make_subproblem()), Degraded)
        assert system.dispatcher.solved == 2

    run(site, work)


@pytest.mark.parametrize("call", ["subproblem", "circuit"])
def test_flipped_bits_in_memory_cost_attempts_and_nothing_is_solved_twice(site: Site, call: str) -> None:
    async def work(system: Loopback) -> None:
        memory, metrics = FailingMemory(every=3), Metrics()
        recorder = PrometheusRecorder(metrics, "trainer")
        channels = system.channels(TRAINER)
        memory.attach(channels)
        memory.is_failing = True
        dispatcher = GrpcDispatcher(channels, recorder=recorder)
        for number in range(12):
            request_id = f"call-{number}"
            if call == "subproblem":
                assert isinstance(
                    await dispatcher.solve(replace(make_subproblem(), request_id=request_id)), Done
                )
            else:
                assert isinstance(await dispatcher.execute(replace(CIRCUIT, request_id=request_id)), Executed)
        solved, circuits = system.dispatcher.solved, len(system.dispatcher.circuits)
        assert (solved, circuits) == ((12, 0) if call == "subproblem" else (0, 12))
        assert {part: count_damaged(metrics, part) for part in ("request", "answer")} == {
            part: system.damaged[part, TRAINER] for part in ("request", "answer")
        }
        assert memory.flips == system.damaged.total() > 6
        assert min(system.damaged.values()) > 0

    run(site, work)


@pytest.mark.parametrize("remembered", [True, False])
def test_points_that_arrived_damaged_are_asked_for_again_and_run_once(
    site: Site, monkeypatch: pytest.MonkeyPatch, remembered: bool
) -> None:
    if not remembered:
        monkeypatch.setattr("shotclock.wire.recent_answers.RecentAnswers.find", lambda *_: None)

    async def work(system: Loopback) -> None:
        channels, metrics = system.channels(TRAINER), Metrics()
        memory = FailingMemory(every=4)
        memory.attach(channels)
        memory.is_failing = True
        dispatcher = GrpcDispatcher(channels, recorder=PrometheusRecorder(metrics, "trainer"))
        points = CircuitPoints(b"QISKIT", 100, ("a",), np.zeros((6, 1)))
        outcomes: dict[int, CircuitOutcome] = {}
        await dispatcher.execute_batch(CircuitBatch((points,) * 2, "b1", LONG_NS), outcomes.__setitem__)
        lost = [index for index, outcome in outcomes.items() if isinstance(outcome, Failed)]
        assert len(outcomes) == 12
        assert len(lost) == (0 if remembered else 3)
        assert len(system.dispatcher.batches) == 1
        assert count_damaged(metrics, "answer") == memory.flips >= 3
        assert system.damaged["answer", TRAINER] == (1 if memory.flips == 3 else 2)

    run(site, work)


def count_damaged(metrics: Metrics, message: str) -> float | None:
    labels = {"client": "trainer", "message": message}
    return metrics.registry.get_sample_value("shotclock_integrity_failures_total", labels)


def test_a_damaged_answer_that_is_not_remembered_is_not_solved_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shotclock.wire.recent_answers.RecentAnswers.find", lambda *_: None)

    async def work(system: Loopback) -> None:
        channels = system.channels(TRAINER)
        memory = FailingMemory(every=2)
        memory.attach(channels)
        memory.is_failing = True
        outcome = await GrpcDispatcher(channels).solve(make_subproblem())
        assert isinstance(outcome, Failed)
        assert "NOT_FOUND: the answer to this request is not remembered any more" in outcome.cause.message
        assert system.dispatcher.solved == 1

    run(site, work)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    payloads=st.lists(
        st.tuples(st.sampled_from(sorted(methods.OF_TRAINERS)), st.binary(max_size=99)), max_size=9
    )
)
def test_a_server_takes_any_bytes_and_still_serves(payloads: list[tuple[str, bytes]]) -> None:
    async def main() -> None:
        server = await serve(ScriptedDispatcher(), ScriptedOperations(), "127.0.0.1:0", Insecure())
        allowed = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.DATA_LOSS}
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            for method, payload in payloads:
                if method != methods.WATCH:
                    call = channel.unary_unary(method)(payload, timeout=60.0)
                    assert await call.code() in allowed
        channels = connect(f"127.0.0.1:{server.port}", Insecure())
        assert isinstance(await GrpcDispatcher(channels).solve(make_subproblem()), Done)
        await channels.close()
        await server.stop(0)

    asyncio.run(main())


def test_a_fallback_that_outlasts_the_deadline_changes_nothing_and_holds_no_loop() -> None:
    let_go, ran_on = threading.Event(), list[str]()

    def slow(subproblem: Subproblem) -> Answer:
        ran_on.append(threading.current_thread().name)
        let_go.wait()
        return zeros(subproblem)

    async def main() -> None:
        channels = connect(f"127.0.0.1:{free_port()}", Insecure())
        dispatcher = GrpcDispatcher(channels, fallback=slow)
        outcome = await dispatcher.solve(make_subproblem(budget_ns=2 * NS_PER_S))
        assert isinstance(outcome, Degraded)
        assert outcome.answer.winner is Winner.INCUMBENT
        assert not outcome.answer.bits.any()
        let_go.set()
        await dispatcher.close()

    asyncio.run(main())
    assert all(name.startswith("shotclock-fallback") for name in ran_on)
    assert ran_on


def test_nobody_listens(site: Site) -> None:
    async def main() -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            target = f"127.0.0.1:{free.getsockname()[1]}"
            channels = connect(target, Insecure())
            lost = await GrpcDispatcher(channels).solve(make_subproblem())
            assert isinstance(lost, Failed)
            assert target in lost.cause.message
            assert isinstance(
                await GrpcDispatcher(channels, fallback=zeros).solve(make_subproblem()), Degraded
            )
            assert isinstance(await GrpcDispatcher(channels).execute(CIRCUIT), Failed)
            await GrpcDispatcher(channels).record_decision("r1", Decision.APPLIED)
            with pytest.raises(MachineError, match="is `shotclock serve` running"):
                await GrpcOperations(channels).status()
            with pytest.raises(MachineError, match="is `shotclock serve` running"):
                await GrpcOperations(channels).drain(NS_PER_S)
            await channels.close()

    asyncio.run(main())


def test_somebody_listens_and_never_says_a_word() -> None:
    async def main() -> None:
        heard: list[asyncio.StreamWriter] = []
        silent = await asyncio.start_server(lambda _, writer: heard.append(writer), "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        channels = connect(f"127.0.0.1:{port}", Insecure())
        assert isinstance(await GrpcDispatcher(channels).solve(make_subproblem(50 * NS_PER_MS)), Late)
        while not heard:  # noqa: ASYNC110 - a callback's
            await asyncio.sleep(0.01)
        await channels.close()
        for writer in heard:
            writer.close()
        silent.close()

    asyncio.run(main())


def test_an_orchestrator_that_went_away_is_used_again_when_it_is_back(site: Site) -> None:
    async def main() -> None:
        server = await serve(ScriptedDispatcher(), ScriptedOperations(), "127.0.0.1:0", Insecure())
        listen = f"127.0.0.1:{server.port}"
        channels = connect(listen, Insecure())
        dispatcher = GrpcDispatcher(channels)
        assert isinstance(await dispatcher.solve(make_subproblem()), Done)
        await server.stop(0)
        assert isinstance(await dispatcher.solve(make_subproblem()), Failed)
        again = await serve(ScriptedDispatcher(), ScriptedOperations(), listen, Insecure())
        while not isinstance(await dispatcher.solve(make_subproblem()), Done):
            pass
        await channels.close()
        await again.stop(0)

    asyncio.run(main())


def test_a_stop_in_the_middle_of_a_call_is_a_value(site: Site) -> None:
    async def work(system: Loopback) -> None:
        system.dispatcher.solves = never
        call = asyncio.create_task(system.trainer().solve(make_subproblem()))
        await system.dispatcher.began.acquire()
        await system.server.stop(0)
        assert isinstance(await call, Failed)
        await system.dispatcher.cancelled.acquire()

    run(site, work)


def test_a_cancellation_behind_the_service_does_not_leave_the_client_waiting(site: Site) -> None:
    async def work(system: Loopback) -> None:
        async def give_up(subproblem: Subproblem) -> Outcome:
            raise asyncio.CancelledError

        system.dispatcher.solves = give_up
        outcome = await system.trainer().solve(make_subproblem())
        assert isinstance(outcome, Failed)
        assert "gave this call up" in outcome.cause.message

    run(site, work)


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), LedgerError("the disk is full")])
def test_an_error_behind_the_service_is_a_value_and_the_next_call_goes_on(
    site: Site, error: Exception
) -> None:
    async def work(system: Loopback) -> None:
        async def fail(subproblem: Subproblem) -> Outcome:
            raise error

        system.dispatcher.solves = fail
        dispatcher = system.trainer()
        outcome = await dispatcher.solve(make_subproblem())
        assert isinstance(outcome, Failed)
        assert str(error) in outcome.cause.message
        system.dispatcher.solves = ScriptedDispatcher().solves
        assert isinstance(await dispatcher.solve(make_subproblem()), Done)

    run(site, work)


def spoil_mode(files: TlsFiles) -> None:
    files.private_key.chmod(0o644)


def spoil_key(files: TlsFiles) -> None:
    write(files.private_key, b"-----BEGIN PRIVATE KEY-----\n", 0o600)


def spoil_certificate(files: TlsFiles) -> None:
    write(files.certificate, files.certificate.read_bytes()[:200])


def spoil_authorities(files: TlsFiles) -> None:
    write(files.authorities, b"")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (spoil_mode, r"mode 0644 .*chmod 600 "),
        (spoil_key, "no PEM private key"),
        (spoil_certificate, "no PEM certificate"),
        (spoil_authorities, "no PEM certificate"),
        (lambda files: files.private_key.unlink(), "cannot be read"),
        (lambda files: files.certificate.unlink(), "cannot be read"),
        (lambda files: files.authorities.unlink(), "cannot be read"),
    ],
)
def test_a_certificate_file_that_cannot_be_used_is_one_line(
    site: Site, spoil: Callable[[TlsFiles], object], says: str
) -> None:
    files = site.issue(TRAINER)
    spoil(files)
    with pytest.raises(MachineError, match=says) as caught:
        load(files, utc_now())
    assert str(files.certificate.parent) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("hours", "says"), [((1, 2), "not valid before"), ((-2, -1), "expired on")])
def test_a_certificate_out_of_date_is_one_line(site: Site, hours: tuple[int, int], says: str) -> None:
    with pytest.raises(MachineError, match=says):
        load(site.issue(TRAINER, hours=hours), utc_now())


def test_a_key_of_another_certificate_is_one_line(site: Site) -> None:
    files, other = site.issue(TRAINER), site.issue(SERVER)
    with pytest.raises(MachineError, match="is not the key of"):
        load(replace(files, private_key=other.private_key), utc_now())


def test_an_identity_shows_no_key(site: Site) -> None:
    assert "PRIVATE" not in repr(load(site.issue(TRAINER), utc_now()))


def test_half_written_files_keep_the_previous_certificate_and_are_reported_once(site: Site) -> None:
    files = site.issue(TRAINER)
    refused: list[str] = []
    live = LiveIdentity(files, on_refused=refused.append)
    before = live.current
    assert not live.refresh()
    whole = files.certificate.read_bytes()
    os.truncate(files.certificate, 100)
    assert not live.refresh()
    assert not live.refresh()
    assert len(refused) == 1
    assert live.current == before
    files.certificate.write_bytes(whole)
    assert not live.refresh()
    site.issue(TRAINER)
    assert live.refresh()
    assert live.current != before
    assert len(refused) == 1


def test_a_new_certificate_that_cannot_connect_keeps_the_previous_one(site: Site) -> None:
    files = site.issue(TRAINER)
    refused: list[str] = []
    live = LiveIdentity(files, on_refused=refused.append)
    before = live.current
    key = ed25519.Ed25519PrivateKey.generate()
    put(site, TRAINER, key)
    assert not live.refresh()
    (reason,) = refused
    assert "no key of the kind Ed25519" in reason
    assert "the previous certificate stays in use" in reason
    assert live.current == before


def test_a_byte_order_mark_alone_makes_no_new_certificate(site: Site) -> None:
    files = site.issue(TRAINER)
    live = LiveIdentity(files)
    before = live.current
    files.certificate.write_bytes(b"\xef\xbb\xbf" + files.certificate.read_bytes())
    assert not live.refresh()
    assert live.current == before


def test_a_certificate_that_expires_in_use_is_reported_once_until_it_is_renewed(site: Site) -> None:
    files = site.issue(TRAINER)
    refused: list[str] = []
    today = utc_now()
    live = LiveIdentity(files, now=lambda: today, on_refused=refused.append)
    assert not live.refresh()
    assert refused == []
    today += timedelta(hours=25)
    assert not live.refresh()
    assert not live.refresh()
    (report,) = refused
    assert f"{files.certificate}: expired on" in report
    site.issue(TRAINER, hours=(-1, 48))
    assert live.refresh()
    assert not live.refresh()
    assert len(refused) == 1


def test_a_client_certificate_that_the_server_refuses_changes_nothing(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shotclock.wire.channels.CONNECT_S", 1.0)

    async def work(system: Loopback) -> None:
        files = site.issue(TRAINER)
        refused: list[str] = []
        channels = connect(system.target, ClientTls(files, SERVER, 0.01, on_refused=refused.append))
        dispatcher, first = GrpcDispatcher(channels), channels.lane
        assert isinstance(await dispatcher.solve(make_subproblem()), Done)
        stranger = Site.at(tmp_path / "other").issue(TRAINER)
        for ours, theirs in (
            (files.private_key, stranger.private_key),
            (files.certificate, stranger.certificate),
        ):
            ours.write_bytes(theirs.read_bytes())
        while not refused:
            assert isinstance(await dispatcher.solve(make_subproblem()), Done)
        assert channels.lane is first
        site.issue(TRAINER)
        while channels.lane is first:
            assert isinstance(await dispatcher.solve(make_subproblem()), Done)
        await channels.close()

    run(site, work)
