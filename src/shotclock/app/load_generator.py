"""The load generator's process, separate from the system under load, so that it is never delayed by it."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import selectors
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from shotclock.app.placed import PlacedDispatcher, PlacementName, connect_hosts
from shotclock.bench.load.arrivals import ArrivalPlan
from shotclock.bench.load.generate import LoadGenerator, Request, ask
from shotclock.bench.load.records import CallRecord
from shotclock.domain.errors import MachineError, ShotclockError
from shotclock.domain.outcome import Degraded, Done, Executed, Failed, Late, Shed, why_no_samples
from shotclock.domain.ports import Dispatcher
from shotclock.domain.subproblem import Subproblem
from shotclock.placement.rules import NO_NEEDS, Needs
from shotclock.wire.channels import connect
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.operations import GrpcOperations
from shotclock.wire.tls import ClientTls, Insecure

WARM_CALLS = 10
WARM_BUDGET_NS = 10_000_000_000
FIRST_CIRCUIT_BUDGET_NS = 600_000_000_000
"""A user circuit has no classical answer, and its first call compiles it."""


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """The calls of a finished run; interrupted: it ended early."""

    calls: Sequence[CallRecord]
    interrupted: bool


@dataclass(frozen=True, slots=True)
class LoadTarget:
    """The system under load. n: variables of a subproblem, classical bits of a circuit."""

    provider: str
    emulated: bool
    n: int


class ProcessGenerator:
    """A child process connected to the targets: `ready`, then `run` repeatedly, then `close`."""

    def __init__(
        self,
        targets: tuple[str, ...],
        security: ClientTls | Insecure,
        requests: Sequence[Request],
        placement: PlacementName = "rtt",
        needs: Needs = NO_NEEDS,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve_plans,
            args=(theirs, targets, security, requests, placement, needs),
            name="shotclock-load",
            daemon=True,
        )
        self._process.start()
        theirs.close()

    def ready(self) -> LoadTarget:
        """Waits until it is connected and warm.

        Raises MachineError if the target does not answer, CircuitError if it cannot run a circuit.
        """
        message = self._receive()
        if not isinstance(message, LoadTarget):
            raise MachineError("the load generator's process did not start")
        return message

    def run(self, plan: ArrivalPlan, number: int) -> FinishedRun:
        """Makes one run; Ctrl-C ends it early and keeps the calls that have ended."""
        self._connection.send((plan, number))
        try:
            message = self._receive()
        except KeyboardInterrupt:
            with suppress(OSError):  # it may have ended already
                self._connection.send(None)
            message = self._receive()
            if isinstance(message, FinishedRun):
                return replace(message, interrupted=True)
        if not isinstance(message, FinishedRun):
            raise MachineError("the load generator's process ended early")
        return message

    def close(self) -> None:
        """Ends the process."""
        with suppress(OSError):  # it may have ended already
            self._connection.send(None)
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._connection.close()

    def _receive(self) -> object:
        try:
            message: object = self._connection.recv()
        except EOFError:
            return None
        if isinstance(message, ShotclockError):
            raise message
        return message


def _serve_plans(
    connection: Connection,
    targets: tuple[str, ...],
    security: ClientTls | Insecure,
    requests: Sequence[Request],
    placement: PlacementName,
    needs: Needs,
) -> None:
    """Runs in the child: runs plans until it receives None."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the parent handles Ctrl-C, and sends None
    with asyncio.Runner(loop_factory=_precise_loop) as runner:
        try:
            dispatcher = runner.run(_dispatcher(targets, security, placement, needs))
            connection.send(runner.run(_warm_up(targets, security, dispatcher, requests)))
            while (message := connection.recv()) is not None:
                plan, number = message
                load = LoadGenerator(plan, dispatcher, _Monotonic(), requests, number)
                gc.collect()
                gc.freeze()  # a full collection during a run would count as issue lag
                interrupted = runner.run(_generate(load, connection))
                connection.send(FinishedRun(load.calls, interrupted))
            runner.run(dispatcher.close())
        except ShotclockError as error:
            connection.send(error)
        except (EOFError, BrokenPipeError):
            return  # the parent has ended, so there is no one to report to


class _Monotonic:
    """A Clock."""

    def now_ns(self) -> int:
        return time.monotonic_ns()


def _precise_loop() -> asyncio.AbstractEventLoop:
    """An event loop on select, which waits in microseconds; epoll's whole milliseconds would be issue lag."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def _dispatcher(
    targets: tuple[str, ...], security: ClientTls | Insecure, placement: PlacementName, needs: Needs
) -> GrpcDispatcher | PlacedDispatcher:
    if len(targets) > 1:
        return await connect_hosts(targets, security, placement, needs=needs)
    return GrpcDispatcher(connect(targets[0], security))


async def _warm_up(
    targets: tuple[str, ...],
    security: ClientTls | Insecure,
    dispatcher: GrpcDispatcher | PlacedDispatcher,
    requests: Sequence[Request],
) -> LoadTarget:
    """Makes some calls one after another, so that connections, caches and templates are ready."""
    n = await make_first_calls(dispatcher, requests[:WARM_CALLS], ", ".join(targets))
    operations = GrpcOperations(connect(targets[0], security))
    try:
        status = await operations.status()
    finally:
        await operations.close()
    return LoadTarget(status.provider, status.emulated, n)


async def make_first_calls(dispatcher: Dispatcher, requests: Sequence[Request], target: str) -> int:
    """Makes calls before the measured time and returns `LoadTarget.n`.

    Raises MachineError if the target answers none.
    """
    n = 0
    for request in requests:
        budget_ns = WARM_BUDGET_NS if isinstance(request, Subproblem) else FIRST_CIRCUIT_BUDGET_NS
        outcome = await ask(dispatcher, replace(request, budget_ns=budget_ns))
        match outcome:
            case Executed(samples=samples):
                n = samples.pool.shape[1]
            case Done(answer=answer) | Degraded(answer=answer):
                n = len(answer.bits)
            case Shed() if isinstance(request, Subproblem):
                n = request.n  # an overloaded orchestrator can be measured
            case Shed() | Late() | Failed():
                why = why_no_samples(outcome, figures=True)
                raise MachineError(f"{target}: accepts no calls: {why}")
    return n


async def _generate(load: LoadGenerator, connection: Connection) -> bool:
    """Generates the load; returns whether it ended early: by SIGTERM, at the parent's message, or its end."""
    task = asyncio.ensure_future(load.generate())
    loop = asyncio.get_running_loop()

    def stop() -> None:  # the parent's only message during a run, which `_serve_plans` reads; or its end
        loop.remove_reader(connection)
        task.cancel()

    loop.add_reader(connection, stop)
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return True
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_reader(connection)
    return False
