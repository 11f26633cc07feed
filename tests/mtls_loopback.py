"""A server and its clients over loopback with mutual TLS, and a scripted dispatcher."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import numpy as np

from certificates import OPERATOR, PROBE, SERVER, TRAINER, Site
from harness import random_subproblem
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.canary import CanaryRequest
from shotclock.domain.circuit import CircuitSpec, Samples
from shotclock.domain.circuit_batch import CircuitBatch, Deliver
from shotclock.domain.flags import FlagChange
from shotclock.domain.outcome import (
    Answer,
    CircuitOutcome,
    Decision,
    Done,
    Executed,
    Outcome,
    Provenance,
    Winner,
)
from shotclock.domain.status import BreakerState, Drained, Phase, Status
from shotclock.domain.subproblem import Subproblem
from shotclock.domain.subproblem_batch import DeliverOutcome, SubproblemBatch, solve_each
from shotclock.wire.authorization import Policy
from shotclock.wire.call_limits import CallLimits
from shotclock.wire.certificates import TlsFiles, load, utc_now
from shotclock.wire.channels import Channels, connect
from shotclock.wire.client import Fallback, GrpcDispatcher
from shotclock.wire.operations import GrpcOperations
from shotclock.wire.server import ConnectionLimits, Server, serve
from shotclock.wire.service_limits import ServiceLimits
from shotclock.wire.tls import ClientTls, ServerTls, client_credentials

POLICY = Policy.of(trainers=frozenset({TRAINER}), operators=frozenset({OPERATOR}), probes=frozenset({PROBE}))


READY = Status(Phase.READY, "scripted", True, BreakerState.CLOSED, 0, 0, 5, 0.05, 0, 0)
CALLS = CallLimits()
SERVICE = ServiceLimits(watch_interval_s=0.01)
CONNECTIONS = ConnectionLimits()
LONG_NS = 60 * NS_PER_S


def make_subproblem(seed: int = 0, budget_ns: int = LONG_NS) -> Subproblem:
    return replace(random_subproblem(6, seed), request_id=f"r{seed}", base_version=7, budget_ns=budget_ns)


def zeros(subproblem: Subproblem) -> Answer:
    """Changing nothing: quick, and right by construction."""
    bits = np.zeros(subproblem.n, dtype=np.uint8)
    return Answer(bits, subproblem.offset, Winner.INCUMBENT, "incumbent")


async def at_once(subproblem: Subproblem) -> Outcome:
    samples = Samples(np.zeros((1, subproblem.n), dtype=np.uint8), np.array([64]))
    provenance = Provenance("scripted", emulated=True, base_version=subproblem.base_version, shots=64)
    return Done(zeros(subproblem), samples, None, provenance)


async def execute(spec: CircuitSpec) -> CircuitOutcome:
    samples = Samples(np.zeros((1, 2), dtype=np.uint8), np.array([spec.shots]))
    return Executed(samples, Provenance("scripted", emulated=True, base_version=0))


@dataclass
class ScriptedDispatcher:
    """Implements Dispatcher: answers as `solves` and `executes` say, and remembers what it was asked.

    answers_first_point_alone: of a batch that was not sent elsewhere before.
    began and cancelled can be acquired once a call that came or was given up.
    """

    solves: Callable[[Subproblem], Awaitable[Outcome]] = at_once
    executes: Callable[[CircuitSpec], Awaitable[CircuitOutcome]] = execute
    subproblems: deque[Subproblem] = field(default_factory=lambda: deque(maxlen=64))
    circuits: list[CircuitSpec] = field(default_factory=list)
    batches: list[CircuitBatch] = field(default_factory=list)
    decisions: list[tuple[str, Decision]] = field(default_factory=list)
    answers_first_point_alone: bool = False
    solved: int = 0
    began: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    cancelled: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def solve(self, subproblem: Subproblem) -> Outcome:
        self.subproblems.append(subproblem)
        self.solved += 1
        self.began.release()
        try:
            return await self.solves(subproblem)
        except asyncio.CancelledError:
            self.cancelled.release()
            raise

    async def solve_batch(self, batch: SubproblemBatch, deliver: DeliverOutcome) -> None:
        await solve_each(self.solve, batch, deliver)

    async def execute(self, spec: CircuitSpec) -> CircuitOutcome:
        self.circuits.append(spec)
        return await self.executes(spec)

    async def execute_batch(self, batch: CircuitBatch, deliver: Deliver) -> None:
        self.batches.append(batch)
        deliver = batch.deliver_unanswered(deliver)
        shots = [circuit.shots for circuit in batch.circuits for _ in circuit.points]
        for index, number in enumerate(shots):
            if index and self.answers_first_point_alone and not batch.origin.repeats:
                await asyncio.Event().wait()
            deliver(index, await execute(CircuitSpec("OPENQASM 3.0;", number)))

    async def record_decision(
        self, request_id: str, decision: Decision, *, stale: bool = False, caller: str = ""
    ) -> None:
        self.decisions.append((request_id, decision))


@dataclass
class ScriptedOperations:
    """Implements Operations; `now` is what it says of itself."""

    now: Status = READY
    drains: list[int] = field(default_factory=list)

    @property
    def phase(self) -> Phase:
        return self.now.phase

    def status(self) -> Status:
        return self.now

    async def drain(self, budget_ns: int) -> Drained:
        self.drains.append(budget_ns)
        self.now = replace(self.now, phase=Phase.DRAINED)
        return Drained(3, 1)

    def resume(self) -> None:
        self.now = replace(self.now, phase=Phase.READY)


@dataclass
class ScriptedRollout:
    """Implements Rollout: remembers what it was asked."""

    canaries: list[tuple[CanaryRequest, str]] = field(default_factory=list)
    aborted_by: list[str] = field(default_factory=list)
    values: list[tuple[str, str, float, str]] = field(default_factory=list)

    async def set_flag(self, flag: str, setting: str) -> FlagChange:
        return FlagChange(flag, "on", setting)

    async def start_canary(self, request: CanaryRequest, caller: str) -> None:
        self.canaries.append((request, caller))

    async def abort_canary(self, caller: str) -> None:
        self.aborted_by.append(caller)

    async def record_validation(self, run: str, kernel: str, value: float, caller: str) -> None:
        self.values.append((run, kernel, value, caller))


async def never(work: Subproblem | CircuitSpec) -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError(work)


@dataclass
class Loopback:
    """What runs: the server, and clients for it."""

    site: Site
    server: Server
    dispatcher: ScriptedDispatcher
    operations: ScriptedOperations
    rollout: ScriptedRollout
    damaged: Counter[tuple[str, str]] = field(default_factory=Counter)
    _open: list[Channels] = field(default_factory=list)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def channels(self, files: TlsFiles | str, poll_s: float = 0.05, renew_s: float = 60.0) -> Channels:
        """As whom the files say, or as a new bearer of a name."""
        tls_files = files if isinstance(files, TlsFiles) else self.site.issue(files)
        channels = connect(self.target, ClientTls(tls_files, SERVER, poll_s, renew_s))
        self._open.append(channels)
        return channels

    def trainer(
        self, limits: CallLimits = CALLS, fallback: Fallback | None = None, name: str = TRAINER
    ) -> GrpcDispatcher:
        return GrpcDispatcher(self.channels(name), limits, fallback)

    def operator(self) -> GrpcOperations:
        return GrpcOperations(self.channels(OPERATOR))

    async def close(self) -> None:
        for channels in self._open:
            await channels.close()
        await self.server.stop(0)


@asynccontextmanager
async def open_mtls_loopback(
    site: Site,
    *,
    limits: ServiceLimits = SERVICE,
    connections: ConnectionLimits = CONNECTIONS,
    policy: Policy = POLICY,
    document: Callable[[], str] = str,
) -> AsyncIterator[Loopback]:
    """Everything up, and down again."""
    dispatcher, operations = ScriptedDispatcher(), ScriptedOperations()
    tls = ServerTls(site.issue(SERVER), policy)
    rollout = ScriptedRollout()
    damaged: Counter[tuple[str, str]] = Counter()
    server = await serve(
        dispatcher,
        operations,
        "127.0.0.1:0",
        tls,
        limits,
        connections,
        rollout=rollout,
        document=document,
        on_damage=lambda message, caller: damaged.update([(message, caller)]),
    )
    system = Loopback(site, server, dispatcher, operations, rollout, damaged)
    try:
        yield system
    finally:
        await system.close()


def secure(system: Loopback, files: TlsFiles) -> Any:
    credentials = client_credentials(load(files, utc_now()))
    options = [("grpc.ssl_target_name_override", SERVER)]
    return grpc.aio.secure_channel(system.target, credentials, options)


async def status_of(call: Any) -> tuple[grpc.StatusCode, str]:
    """How a call ends, as gRPC says it."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


def run_loopback(
    site: Site,
    work: Callable[[Loopback], Awaitable[None]],
    limits: ServiceLimits = SERVICE,
    *,
    policy: Policy = POLICY,
) -> None:
    """Runs `work` against a server over loopback."""

    async def main() -> None:
        async with open_mtls_loopback(site, limits=limits, policy=policy) as system:
            await work(system)

    asyncio.run(main())
