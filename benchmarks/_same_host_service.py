"""The service of `same_host.py` in its own process, on every way, and the caller's ends of them."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import trustme

from _orchestrator_system import SHOTS, system
from _orchestrator_wire import ECHO, SERVER, START_S, TRAINER, _issue, _serve_echo
from _same_host_ways import (
    SLOT_BYTES,
    SLOTS,
    MemoryService,
    MemoryWay,
    Slots,
    SocketWay,
    Way,
    serve_socket,
    solve_over,
)
from shotclock.domain.outcome import Answer, Done, Provenance, Winner
from shotclock.domain.subproblem import Subproblem
from shotclock.providers.scripted import random_samples
from shotclock.wire import server as wire
from shotclock.wire.authorization import Policy
from shotclock.wire.certificates import LiveIdentity, TlsFiles
from shotclock.wire.channels import ChannelLimits, Channels, connect
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.service import Service
from shotclock.wire.service_limits import DEFAULT_LIMITS
from shotclock.wire.tls import ClientTls, ServerTls, client_credentials

WAYS = ("gRPC, mTLS over loopback", "gRPC, Unix socket", "frames, Unix socket", "shared memory")
TRIVIAL, WHOLE = "answered at once", "orchestrator"


@dataclass(frozen=True, slots=True)
class Trips:
    """How a way makes a call and an echo."""

    solve: Callable[[Subproblem], Coroutine[Any, Any, Any]]
    echo: Callable[[bytes], Coroutine[Any, Any, bytes]]


@asynccontextmanager
async def open_ways(
    folder: Path, ports: dict[str, int], files: TlsFiles, memory: Any
) -> AsyncIterator[dict[tuple[str, str], Trips]]:

    limits, credentials = ChannelLimits(), client_credentials(LiveIdentity(files).current)
    trips: dict[tuple[str, str], Trips] = {}
    closing: list[Any] = []

    def add_grpc(way: str, service: str, channels: Channels, echo_channel: Any) -> None:
        call = echo_channel.unary_unary(ECHO)
        dispatcher = GrpcDispatcher(channels)
        trips[way, service] = Trips(dispatcher.solve, lambda payload: _await(call(payload, timeout=60.0)))
        closing.append(dispatcher.close)

    def add_plain(way: str, service: str, end: Way) -> None:
        trips[way, service] = Trips(partial(solve_over, end), end.carry)

    secure_echo = grpc.aio.secure_channel(f"127.0.0.1:{ports['echo']}", credentials, limits.options(SERVER))
    closing.append(secure_echo.close)
    for service in (TRIVIAL, WHOLE):
        target = f"127.0.0.1:{ports[service]}"
        add_grpc(WAYS[0], service, connect(target, ClientTls(files, SERVER)), secure_echo)
        path = f"unix:{folder / service}.grpc"
        make = partial(grpc.aio.insecure_channel, path, limits.options(""))
        echo_channel = make()
        closing.append(echo_channel.close)
        add_grpc(WAYS[1], service, Channels(path, make), echo_channel)
        plain = SocketWay(*await asyncio.open_unix_connection(f"{folder / service}.frames"))
        add_plain(WAYS[2], service, plain)
        outward, inward, bell = memory[service]
        shared = MemoryWay(Slots(bell, outward, inward), bell)
        add_plain(WAYS[3], service, shared)
        closing += [plain.close, shared.close]
    yield trips
    for close in closing:
        await close()


async def _await(call: Any) -> bytes:
    reply: bytes = await call
    return reply


@contextmanager
def run_service(folder: Path) -> Iterator[tuple[Connection, TlsFiles, Any]]:
    """The service in a separate process, until the context ends."""

    authority = trustme.CA()
    server, client = (_issue(authority, folder / name, name) for name in (SERVER, TRAINER))
    segments = {
        service: [SharedMemory(create=True, size=SLOTS * SLOT_BYTES) for _ in range(2)]
        for service in (TRIVIAL, WHOLE)
    }
    bells = {service: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for service in segments}
    theirs = {service: (*[each.name for each in segments[service]], bells[service][1]) for service in bells}
    ours, other = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(other, str(folder), server, theirs)
    )
    process.start()
    other.close()
    try:
        if not ours.poll(START_S):
            raise RuntimeError(f"the server process did not start within {START_S} s")
        yield ours, client, {service: (*segments[service], bells[service][0]) for service in segments}
    finally:
        ours.close()
        process.join(START_S)
        process.kill()
        for pair in segments.values():
            for segment in pair:
                segment.close()
                segment.unlink()


def _serve(connection: Connection, folder: str, files: TlsFiles, theirs: Any) -> None:
    """The server process: tells its ports, and ends when the other end of the pipe is closed."""
    with system() as running:
        ports, stops = running.host.run(_listen(running.path.orchestrator, folder, files, theirs))
        connection.send(ports)
        while not connection.poll(0.1):
            running.provider.jobs.clear()  # the script's record of every job would grow without bound
        for stop in stops:
            running.host.run(stop())


async def _listen(
    orchestrator: Any, folder: str, files: TlsFiles, theirs: Any
) -> tuple[dict[str, int], list[Any]]:
    """Every way to both services, on this loop."""
    policy = Policy.of(trainers=frozenset({TRAINER}))
    echo_server, echo_port = await _serve_echo(files)
    ports, stops = {"echo": echo_port}, [partial(echo_server.stop, 0)]
    services: tuple[tuple[str, Any], ...] = ((TRIVIAL, AtOnce()), (WHOLE, orchestrator))
    for service, dispatcher in services:
        server = await wire.serve(dispatcher, orchestrator, "127.0.0.1:0", ServerTls(files, policy))
        ports[service] = server.port
        options = wire.options(DEFAULT_LIMITS, wire.ConnectionLimits(), secure=False)
        local = grpc.aio.server(options=options)
        name, method = ECHO.strip("/").split("/")
        echo = {method: grpc.unary_unary_rpc_method_handler(_echo)}
        handlers = Service(dispatcher, orchestrator, DEFAULT_LIMITS).handlers()
        local.add_generic_rpc_handlers((handlers, grpc.method_handlers_generic_handler(name, echo)))
        local.add_insecure_port(f"unix:{folder}/{service}.grpc")
        await local.start()
        frames = await serve_socket(f"{folder}/{service}.frames", dispatcher.solve)
        outward, inward, bell = theirs[service]
        MemoryService(Slots(bell, SharedMemory(inward), SharedMemory(outward)), bell, dispatcher.solve)
        stops += [partial(server.stop, 0), partial(local.stop, 0), partial(_close, frames)]
    return ports, stops


async def _echo(payload: bytes, context: Any) -> bytes:
    del context
    return payload


async def _close(server: asyncio.Server) -> None:
    server.close()


class AtOnce:
    """The part of a Dispatcher that is measured: answers with 256 random samples and no work."""

    def __init__(self) -> None:
        self._answers: dict[int, Done] = {}

    async def solve(self, subproblem: Subproblem) -> Done:
        """See `Dispatcher.solve`."""
        outcome = self._answers.get(subproblem.n)
        if outcome is None:
            outcome = self._answers[subproblem.n] = make_answer(subproblem.n)
        return outcome


def make_answer(n: int) -> Any:

    samples = random_samples(n, SHOTS, np.random.default_rng(0))
    best = Answer(samples.pool[0], 0.0, Winner.QUANTUM, "scripted")
    return Done(best, samples, None, Provenance("scripted", emulated=True, base_version=0, shots=SHOTS))
