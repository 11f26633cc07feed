"""What hostile and heavy callers send, each from a separate process, until it is stopped."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import numpy as np

from _isolation_service import SERVER, Site
from _orchestrator_system import instances
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.errors import ShotclockError
from shotclock.domain.subproblem import Priority
from shotclock.wire import methods
from shotclock.wire.channels import Channels, connect
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.codec import encode_circuit, encode_subproblem
from shotclock.wire.tls import ClientTls

HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
BUDGET_S = 1.0
PAUSE_S = 0.02
"""Between two calls of one attacker: it is the service that is to be busy, not the attacker."""
SILENT = 1_000
START_S = 120.0

Payload = tuple[str, bytes]
"""A method and a serialized request."""


def bomb() -> list[Payload]:
    """Thirty-one gates, each calling the one before twice: 2³⁰ gates in 945 bytes."""
    gates = ["gate g0 a { h a; }"] + [f"gate g{n} a {{ g{n - 1} a; g{n - 1} a; }}" for n in range(1, 31)]
    return [_circuit(HEAD + "\n".join(gates) + "\nqubit[1] q;\nbit[1] c;\ng30 q[0];\nc = measure q;\n")]


def large() -> list[Payload]:
    """An honest circuit of 20 qubits and 500 gates, another one each time."""
    payloads = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        lines = []
        for _ in range(500):
            a, b = rng.choice(20, 2, replace=False)
            lines.append(f"cx q[{a}], q[{b}];" if rng.random() < 0.4 else f"rx({rng.random():.6f}) q[{a}];")
        payloads.append(
            _circuit(HEAD + "qubit[20] q;\nbit[20] c;\n" + "\n".join(lines) + "\nc = measure q;\n")
        )
    return payloads


def declarations() -> list[Payload]:
    """A few bytes that declare, address or nest more than any machine holds."""
    sources = (
        "bit[200000000] c;\n",
        "qubit[0x5F5E100] q;\n",
        "h $100000000;\n",
        f"qubit q;\nrx({'(' * 100_000}1.0{')' * 100_000}) q;\n",
        "const int n = 200000000;\nbit[n] c;\n",
    )
    return [_circuit(HEAD + source) for source in sources]


def controls() -> list[Payload]:
    """A gate with twenty controls."""
    return [
        _circuit(
            HEAD
            + "qubit[21] q;\nctrl(20) @ U(0.1, 0.2, 0.3) "
            + ", ".join(f"q[{n}]" for n in range(21))
            + ";\n"
        )
    ]


def clbits() -> list[Payload]:
    """A QPY circuit whose header announces three million classical bits."""
    from qiskit import QuantumCircuit  # noqa: PLC0415
    from qiskit.circuit import Clbit, Qubit  # noqa: PLC0415

    from shotclock.domain.circuit_bytes import dump_circuit  # noqa: PLC0415

    seven, nine = (dump_circuit(QuantumCircuit([Qubit()], [Clbit() for _ in range(n)])) for n in (7, 9))
    at = next(i for i, (a, b) in enumerate(zip(seven, nine, strict=False)) if (a, b) == (7, 9))
    return [_circuit(seven[: at - 3] + (3_000_000).to_bytes(4, "big") + seven[at + 1 :])]


def coefficients() -> list[Payload]:
    """Subproblems whose energies overflow; our own client would refuse them."""
    q = np.full((12, 12), 1e308)
    np.fill_diagonal(q, 0.0)
    subproblem = SimpleNamespace(
        quadratic=q,
        linear=np.full(12, -1e308),
        n=12,
        offset=0.0,
        kind="qubo",
        request_id="x",
        base_version=0,
        priority=Priority.HIGH,
        fresh=True,
    )
    return [(methods.SOLVE, encode_subproblem(subproblem, _ns(BUDGET_S)).SerializeToString())]  # type: ignore[arg-type]


CALLERS: dict[str, Callable[[], list[Payload]]] = {
    "bomb": bomb,
    "large": large,
    "declarations": declarations,
    "controls": controls,
    "clbits": clbits,
    "coefficients": coefficients,
}
"""Attacks over gRPC, each under a separate name; silent connections and the heavy caller come on top."""


@contextmanager
def attacking(site: Site, grpc_port: int, http_port: int, attacks: tuple[str, ...]) -> Iterator[Counter[str]]:
    """These attacks (of CALLERS, and `silent`), from one process, meanwhile."""
    with _process(_attack, site, grpc_port, http_port, attacks) as sent:
        yield sent


@contextmanager
def offering(site: Site, name: str, grpc_port: int, rate_per_s: float) -> Iterator[None]:
    """An honest caller with Poisson arrivals at this rate, from a separate process, meanwhile."""
    with _process(_offer, site, name, grpc_port, rate_per_s):
        yield


@contextmanager
def _process(work: Callable[..., Awaitable[None]], *arguments: Any) -> Iterator[Counter[str]]:
    """What it yields is filled at the end: how many calls of each kind it made, by how they ended."""
    counts: Counter[str] = Counter()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(theirs, work, arguments))
    process.start()
    theirs.close()
    try:
        if not ours.poll(START_S):
            raise RuntimeError(f"a caller's process did not start within {START_S:g} s")
        ours.recv()
        yield counts
        ours.send(True)
        if ours.poll(10.0):
            counts.update(ours.recv())
    finally:
        ours.close()
        process.join(10.0)
        process.kill()


def _run(connection: Connection, work: Callable[..., Awaitable[None]], arguments: tuple[Any, ...]) -> None:
    async def main() -> None:
        counts: Counter[str] = Counter()
        running = asyncio.ensure_future(work(counts, lambda: connection.send(True), *arguments))
        while not await asyncio.to_thread(connection.poll, 0.2):
            if running.done():
                running.result()
        connection.send(counts)
        running.cancel()

    with suppress(OSError, EOFError, KeyboardInterrupt):
        asyncio.run(main())


async def _attack(
    counts: Counter[str],
    ready: Callable[[], None],
    site: Site,
    grpc_port: int,
    http_port: int,
    attacks: tuple[str, ...],
) -> None:
    os.nice(19)  # attackers would be on other machines: they are to take the service's time, not its cores
    payloads_of = {name: make() for name, make in CALLERS.items() if name in attacks}
    ready()
    silent = [_keep_silent(counts, http_port)] if "silent" in attacks else []
    await asyncio.gather(
        *(_send(counts, site, name, grpc_port, payloads) for name, payloads in payloads_of.items()), *silent
    )


async def _send(counts: Counter[str], site: Site, name: str, grpc_port: int, payloads: list[Payload]) -> None:
    """One call after another, whatever becomes of them; a lost connection is made again."""
    channels = connect(f"127.0.0.1:{grpc_port}", ClientTls(site.issue(name), SERVER))
    number = 0
    while True:
        method, payload = payloads[number % len(payloads)]
        number += 1
        counts[f"{name}: {await _send_one(channels, method, payload)}"] += 1
        await asyncio.sleep(PAUSE_S)


async def _send_one(channels: Channels, method: str, payload: bytes) -> str:
    """How it ended, by gRPC's status."""
    import grpc  # noqa: PLC0415

    call = channels.lane.channel.unary_unary(method)
    try:
        await call(payload, timeout=BUDGET_S)
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    return "OK"


async def _keep_silent(counts: Counter[str], http_port: int) -> None:
    """So many connections that send nothing; each that is closed is opened again."""
    loop = asyncio.get_running_loop()
    connections: dict[socket.socket, None] = {}

    def see(connection: socket.socket) -> None:
        with suppress(BlockingIOError):
            with suppress(ConnectionError):
                connection.recv(1)
            loop.remove_reader(connection)
            connection.close()
            connections.pop(connection, None)

    while True:
        while len(connections) < SILENT:
            connection = socket.socket()
            connection.setblocking(False)
            try:
                async with asyncio.timeout(1.0):
                    await loop.sock_connect(connection, ("127.0.0.1", http_port))
            except (OSError, TimeoutError):
                connection.close()
                break
            connections[connection] = None
            counts["silent: opened"] += 1
            loop.add_reader(connection, see, connection)
            if len(connections) % 20 == 0:
                await asyncio.sleep(0.01)  # 2,000 new ones a second, or this process takes the core
        await asyncio.sleep(0.05)


async def _offer(
    counts: Counter[str], ready: Callable[[], None], site: Site, name: str, grpc_port: int, rate_per_s: float
) -> None:
    ready()
    dispatcher = GrpcDispatcher(connect(f"127.0.0.1:{grpc_port}", ClientTls(site.issue(name), SERVER)))
    subproblems, rng = instances(64, _ns(BUDGET_S)), np.random.default_rng(1)
    under_way: set[asyncio.Task[Any]] = set()
    at = time.monotonic()
    while True:
        at += rng.exponential(1.0 / rate_per_s)
        await asyncio.sleep(max(0.0, at - time.monotonic()))
        counts[f"{name}: asked"] += 1
        task = asyncio.create_task(_solve(dispatcher, subproblems[len(under_way) % len(subproblems)]))
        under_way.add(task)
        task.add_done_callback(under_way.discard)


async def _solve(dispatcher: GrpcDispatcher, subproblem: Any) -> None:
    with suppress(ShotclockError):
        await dispatcher.solve(subproblem)


def _circuit(source: str | bytes) -> Payload:
    spec = CircuitSpec(source, 256, request_id="x", budget_ns=_ns(BUDGET_S), priority=Priority.HIGH)
    return methods.SUBMIT_CIRCUIT, encode_circuit(spec, spec.budget_ns).SerializeToString()


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
