"""Calls over gRPC with mutual TLS, and an echo RPC between the same two processes as control."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import trustme

from _orchestrator_batches import MOST_IN_BATCHES, measure_batches
from _orchestrator_series import BLOCKS, Rate, Series
from _orchestrator_system import BUDGET_NS, WIDTH, in_flight, instances, system
from shotclock.domain.outcome import Outcome
from shotclock.domain.subproblem import Subproblem
from shotclock.wire import server as wire
from shotclock.wire.authorization import Policy
from shotclock.wire.certificates import LiveIdentity, TlsFiles
from shotclock.wire.channels import ChannelLimits, connect
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.codec import decode_subproblem, encode_subproblem
from shotclock.wire.outcomes import decode_outcome, encode_outcome
from shotclock.wire.payload import parse
from shotclock.wire.service_limits import DEFAULT_LIMITS
from shotclock.wire.tls import ClientTls, ServerTls, client_credentials, server_credentials
from shotclock.wire.v1 import shotclock_pb2 as pb

SERVER, TRAINER = "localhost", "trainer.localhost"
ECHO = "/benchmark.Echo/Echo"
ECHO_BYTES = 1024
WARM_UP = 300
START_S = 60


@dataclass(frozen=True, slots=True)
class Ports:
    """Of the orchestrator and of the echo, in one server process."""

    solve: int
    echo: int


@dataclass(frozen=True, slots=True)
class Messages:
    """Bytes on the wire, and the time all four steps of the codec take a call together."""

    request_bytes: int
    answer_bytes: int
    codec_us: float


@dataclass(frozen=True, slots=True)
class WireResult:
    """Both ways over the same wire, and what the messages are like."""

    solve: Series
    echo: Series
    rate: Rate
    echo_rate: Rate
    messages: Messages
    batched: Rate
    beside_batched: Rate

    @property
    def batched_ratio(self) -> float:
        """Calls a second in batches over gRPC, over those in process, whose blocks they took turns with."""
        return self.batched.per_s / self.beside_batched.per_s


def measure(calls: int, rated: int) -> WireResult:
    """Pairs of a call and an echo in random order, then the rates of both."""
    with tempfile.TemporaryDirectory() as folder, _server(Path(folder)) as (ports, files):
        return asyncio.run(_measure(ports, files, calls, rated))


async def _measure(ports: Ports, files: TlsFiles, calls: int, rated: int) -> WireResult:
    subproblems = instances()
    solve = Series("gRPC with mTLS, another process")
    echoes = Series(f"echo RPC of {ECHO_BYTES} bytes, same mTLS")
    async with _client(ports, files) as (dispatcher, echo):
        await _pairs(dispatcher, echo, subproblems[:WARM_UP])
        for _ in range(BLOCKS):
            block = (subproblems * (calls // len(subproblems) + 1))[: calls // BLOCKS]
            solved, echoed, outcomes = await _pairs(dispatcher, echo, block)
            solve.add(solved, outcomes)
            echoes.blocks.append(echoed)
        rate = await in_flight(solve.what, dispatcher.solve, subproblems, rated)
        echo_rate = Rate(echoes.what, rated, await _echo_rate(echo, rated), 0)
        batched, beside = await measure_batches(dispatcher, rated)
    messages = _messages(subproblems[0], outcomes[0])
    return WireResult(solve, echoes, rate, echo_rate, messages, batched, beside)


async def _pairs(
    dispatcher: GrpcDispatcher, echo: Any, subproblems: list[Subproblem]
) -> tuple[list[int], list[int], list[Outcome]]:
    """One after the other, in random order each time."""
    solved, echoed, outcomes, payload = [], [], [], bytes(ECHO_BYTES)
    order = random.Random(len(subproblems))
    for subproblem in subproblems:
        for solves in order.sample((True, False), 2):
            began_ns = time.perf_counter_ns()
            if solves:
                outcomes.append(await dispatcher.solve(subproblem))
                solved.append(time.perf_counter_ns() - began_ns)
            else:
                await echo(payload, timeout=BUDGET_NS * 1e-9)
                echoed.append(time.perf_counter_ns() - began_ns)
    return solved, echoed, outcomes


async def _echo_rate(echo: Any, calls: int) -> float:
    numbers, payload = iter(range(calls)), bytes(ECHO_BYTES)

    async def work() -> None:
        for _ in numbers:
            await echo(payload, timeout=BUDGET_NS * 1e-9)

    began_ns = time.perf_counter_ns()
    await asyncio.gather(*(work() for _ in range(WIDTH)))
    return calls * 1e9 / (time.perf_counter_ns() - began_ns)


def _messages(subproblem: Subproblem, outcome: Outcome) -> Messages:
    request = encode_subproblem(subproblem, BUDGET_NS).SerializeToString()
    answer = encode_outcome(outcome).SerializeToString()
    began_ns = time.perf_counter_ns()
    for _ in range(WARM_UP):
        encode_subproblem(subproblem, BUDGET_NS).SerializeToString()
        decode_subproblem(parse(pb.Subproblem, request))
        encode_outcome(outcome).SerializeToString()
        decode_outcome(parse(pb.Outcome, answer), subproblem.n)
    codec_us = (time.perf_counter_ns() - began_ns) / WARM_UP * 1e-3
    return Messages(len(request), len(answer), codec_us)


@asynccontextmanager
async def _client(ports: Ports, files: TlsFiles) -> AsyncIterator[tuple[GrpcDispatcher, Any]]:
    dispatcher = GrpcDispatcher(connect(f"127.0.0.1:{ports.solve}", ClientTls(files, SERVER)))
    credentials = client_credentials(LiveIdentity(files).current)
    options = ChannelLimits().options(SERVER)
    async with grpc.aio.secure_channel(f"127.0.0.1:{ports.echo}", credentials, options) as channel:
        yield dispatcher, channel.unary_unary(ECHO)
    await dispatcher.close()


@contextmanager
def _server(folder: Path) -> Iterator[tuple[Ports, TlsFiles]]:
    """The orchestrator in a separate process, until the context ends."""
    authority = trustme.CA()
    server, client = (_issue(authority, folder / name, name) for name in (SERVER, TRAINER))
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, server))
    process.start()
    theirs.close()
    try:
        if not ours.poll(START_S):
            raise RuntimeError(f"the server process did not start within {START_S} s")
        yield ours.recv(), client
    finally:
        ours.close()
        process.join(START_S)
        process.kill()


def _issue(authority: trustme.CA, folder: Path, name: str) -> TlsFiles:
    folder.mkdir()
    issued = authority.issue_cert(name)
    files = TlsFiles(folder / "tls.pem", folder / "tls.key", folder / "ca.pem")
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    files.private_key.touch(0o600)
    files.private_key.write_bytes(issued.private_key_pem.bytes())
    files.authorities.write_bytes(authority.cert_pem.bytes())
    return files


def _serve(connection: Connection, files: TlsFiles) -> None:
    """The server process: says its ports, and ends when the other end of the pipe is closed."""
    policy = Policy.of(trainers=frozenset({TRAINER}))
    with system(queue_limit=MOST_IN_BATCHES) as running:
        orchestrator, host = running.path.orchestrator, running.host
        server = host.run(wire.serve(orchestrator, orchestrator, "127.0.0.1:0", ServerTls(files, policy)))
        echo, port = host.run(_serve_echo(files))
        connection.send(Ports(server.port, port))
        while not connection.poll(0.1):
            running.provider.jobs.clear()  # the script's record of every job would grow without bound
        host.run(server.stop(0))
        host.run(echo.stop(0))


async def _serve_echo(files: TlsFiles) -> tuple[Any, int]:
    """Bytes in, the same bytes out, with the orchestrator's channel arguments and credentials."""

    async def echo(payload: bytes, context: Any) -> bytes:
        del context
        return payload

    server = grpc.aio.server(options=wire.options(DEFAULT_LIMITS, wire.ConnectionLimits()))
    service, method = ECHO.strip("/").split("/")
    handler = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_secure_port("127.0.0.1:0", server_credentials(LiveIdentity(files)))
    await server.start()
    return server, port
