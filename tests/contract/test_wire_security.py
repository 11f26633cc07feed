"""Who reaches what: mutual TLS, names in certificates, and the loopback exception."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from certificates import OPERATOR, PROBE, SERVER, STRANGER, TRAINER, Site
from mtls_loopback import (
    SERVICE,
    Loopback,
    ScriptedDispatcher,
    ScriptedOperations,
    make_subproblem,
    open_mtls_loopback,
    run_loopback,
    secure,
    status_of,
)
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.domain.outcome import (
    Done,
    Failed,
)
from shotclock.wire import methods
from shotclock.wire.authorization import Policy
from shotclock.wire.channels import connect
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.server import ConnectionLimits, serve
from shotclock.wire.tls import ClientTls, Insecure


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.at(tmp_path)


STREAMS = {methods.WATCH, methods.HEALTH_WATCH, methods.REFLECTION}


async def code_of(channel: Any, method: str) -> tuple[grpc.StatusCode, str]:
    """How an empty request to the method ends; of a stream, the first answer."""
    if method not in STREAMS:
        return await status_of(channel.unary_unary(method)(b"", timeout=60.0))
    call = channel.unary_stream(method)(b"", timeout=60.0)
    ended = await status_of(anext(aiter(call)))
    call.cancel()
    return ended


@pytest.mark.parametrize("names", [(STRANGER,), ("trainer@shotclock.test", STRANGER), (f"{TRAINER}s",)])
def test_a_wrong_name_reaches_nothing(site: Site, names: tuple[str, ...]) -> None:
    async def work(system: Loopback) -> None:
        async with secure(system, site.issue(*names)) as channel:
            for method in sorted(methods.ALL):
                code, details = await code_of(channel, method)
                assert code is grpc.StatusCode.PERMISSION_DENIED, method
                assert details == f"{names[-1]} may not call {method}"
        assert system.dispatcher.solved == 0
        assert system.operations.drains == []

    run_loopback(site, work)


@pytest.mark.parametrize(
    ("name", "allowed"),
    [(TRAINER, methods.OF_TRAINERS), (OPERATOR, methods.OF_OPERATORS), (PROBE, methods.OF_PROBES)],
)
def test_each_role_reaches_its_own_methods_and_no_other(
    site: Site, name: str, allowed: frozenset[str]
) -> None:
    async def work(system: Loopback) -> None:
        async with secure(system, site.issue(name)) as channel:
            for method in sorted(methods.ALL):
                code, _ = await code_of(channel, method)
                assert (code is not grpc.StatusCode.PERMISSION_DENIED) == (method in allowed), method

    run_loopback(site, work)


def test_an_e_mail_address_is_nobody_s_name(site: Site) -> None:
    async def work(system: Loopback) -> None:
        async with secure(system, site.issue("root@localhost")) as channel:
            code, details = await code_of(channel, methods.SOLVE)
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert "without a DNS or URI name" in details

    run_loopback(site, work)


def test_a_policy_names_methods_that_exist() -> None:
    with pytest.raises(SettingsError, match="no such method /shotclock"):
        Policy({"/shotclock.v1.Orchestrator/Sovle": frozenset({TRAINER})})
    assert not Policy({}).permits(methods.SOLVE, frozenset({TRAINER}))


def test_without_a_certificate_nothing_is_reached(site: Site) -> None:
    async def work(system: Loopback) -> None:
        anonymous = grpc.ssl_channel_credentials(site.authorities)
        options = [("grpc.ssl_target_name_override", SERVER)]
        async with grpc.aio.secure_channel(system.target, anonymous, options) as channel:
            code, _ = await code_of(channel, methods.HEALTH_CHECK)
            assert code is grpc.StatusCode.UNAVAILABLE
        async with grpc.aio.insecure_channel(system.target) as channel:
            code, _ = await code_of(channel, methods.HEALTH_CHECK)
            assert code is grpc.StatusCode.UNAVAILABLE

    run_loopback(site, work)


def test_another_authority_s_certificate_reaches_nothing(site: Site, tmp_path: Path) -> None:
    async def work(system: Loopback) -> None:
        other = Site.at(tmp_path / "other").issue(TRAINER)
        other.authorities.write_bytes(site.authorities)
        outcome = await GrpcDispatcher(system.channels(other)).solve(make_subproblem(budget_ns=5 * NS_PER_S))
        assert isinstance(outcome, Failed)
        assert system.dispatcher.solved == 0

    run_loopback(site, work)


def test_an_expired_client_reaches_nothing(site: Site) -> None:
    async def work(system: Loopback) -> None:
        files = site.issue(TRAINER, hours=(-48, -24))
        with pytest.raises(MachineError, match="expired on"):
            system.channels(files)
        identity = (files.authorities, files.private_key, files.certificate)
        credentials = grpc.ssl_channel_credentials(*(path.read_bytes() for path in identity))
        options = [("grpc.ssl_target_name_override", SERVER)]
        async with grpc.aio.secure_channel(system.target, credentials, options) as channel:
            code, _ = await code_of(channel, methods.SOLVE)
            assert code is grpc.StatusCode.UNAVAILABLE

    run_loopback(site, work)


def test_a_server_with_another_s_name_is_not_trusted(site: Site) -> None:
    async def work(system: Loopback) -> None:
        channels = connect(system.target, ClientTls(site.issue(TRAINER), "elsewhere.test"))
        outcome = await GrpcDispatcher(channels).solve(make_subproblem(budget_ns=5 * NS_PER_S))
        assert isinstance(outcome, Failed)
        await channels.close()

    run_loopback(site, work)


async def serve_once(listen: str, security: Any) -> None:
    server = await serve(ScriptedDispatcher(), ScriptedOperations(), listen, security)
    await server.stop(0)


def test_without_tls_only_on_loopback() -> None:
    async def main() -> None:
        server = await serve(ScriptedDispatcher(), ScriptedOperations(), "127.0.0.1:0", Insecure())
        channels = connect(f"localhost:{server.port}", Insecure())
        assert isinstance(await GrpcDispatcher(channels).solve(make_subproblem()), Done)
        await channels.close()
        await server.stop(0)
        for address in ("0.0.0.0:0", "10.0.0.1:7443", "qpu.test:7443", "[::]:0"):
            with pytest.raises(SettingsError, match="loopback"):
                await serve_once(address, Insecure())
            with pytest.raises(SettingsError, match="loopback"):
                connect(address, Insecure())

    asyncio.run(main())


NOBODY: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("trainers", "operators"), [(NOBODY, NOBODY), ({TRAINER}, NOBODY), (NOBODY, {OPERATOR})]
)
def test_a_service_that_nobody_may_call_is_not_ready(
    site: Site, trainers: frozenset[str], operators: frozenset[str]
) -> None:
    policy = Policy.of(frozenset(trainers), frozenset(operators), probes=frozenset({PROBE}))

    async def main() -> tuple[bool, tuple[str, ...]]:
        async with (
            open_mtls_loopback(site, policy=policy) as system,
            secure(system, site.issue(PROBE)) as probe,
        ):
            check = health_pb2_grpc.HealthStub(probe).Check
            for _ in range(200):  # as many looks, 10 ms apart
                answer = await check(health_pb2.HealthCheckRequest(service=methods.SERVICE))
                if answer.status == health_pb2.HealthCheckResponse.SERVING or not (trainers or operators):
                    break
                await asyncio.sleep(SERVICE.watch_interval_s)
            return answer.status == health_pb2.HealthCheckResponse.SERVING, system.server.impediments()

    serves, impediments = asyncio.run(main())
    assert serves is bool(trainers or operators)
    assert [why.partition(";")[0] for why in impediments] == (
        [] if serves else ["nobody may call: serve.trainers and serve.operators are empty"]
    )


def test_connections_that_never_finish_their_handshake_make_room_again(site: Site) -> None:
    async def main() -> None:
        limits = ConnectionLimits(connections=10, handshake_s=1.0)
        async with open_mtls_loopback(site, connections=limits) as system:
            trainer = system.trainer()
            assert isinstance(await trainer.solve(make_subproblem(0)), Done)
            silent = [await asyncio.open_connection("127.0.0.1", system.server.port) for _ in range(30)]
            # who is connected notices nothing, and who comes next gets in when the silent ones are closed
            assert isinstance(await trainer.solve(make_subproblem(1)), Done)
            assert [await reader.read() for reader, _ in silent] == [b""] * 30
            assert isinstance(await system.trainer().solve(make_subproblem(2)), Done)
            for _, writer in silent:
                writer.close()

    asyncio.run(main())


@pytest.mark.parametrize("address", ["", "localhost", "localhost:", "localhost:http", "h:70000", ":7443"])
def test_an_address_is_host_and_port(address: str) -> None:
    with pytest.raises(SettingsError, match="HOST:PORT"):
        asyncio.run(serve_once(address, Insecure()))


def test_a_port_that_another_server_has_is_one_line() -> None:
    async def main() -> None:
        first = await serve(ScriptedDispatcher(), ScriptedOperations(), "127.0.0.1:0", Insecure())
        with pytest.raises(MachineError, match="cannot listen there"):
            await serve_once(f"127.0.0.1:{first.port}", Insecure())
        await first.stop(0)

    asyncio.run(main())
