"""The load generator's own process: what it measures never waits for what it loads."""

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

from shotclock.bench.load.arrivals import Plan
from shotclock.bench.load.generate import Load, Request, ask
from shotclock.bench.load.records import CallRecord
from shotclock.domain.errors import MachineError, ShotclockError
from shotclock.domain.outcome import Degraded, Done, Executed, Failed, Late, Shed, why_no_samples
from shotclock.domain.ports import Dispatcher
from shotclock.domain.subproblem import Subproblem
from shotclock.wire.channels import connect
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.operations import GrpcOperations
from shotclock.wire.tls import ClientTls, Insecure

WARM_CALLS = 10
WARM_BUDGET_NS = 10_000_000_000
FIRST_CIRCUIT_BUDGET_NS = 600_000_000_000
"""Nothing classical answers in a circuit's stead, and its first call compiles it."""


@dataclass(frozen=True, slots=True)
class Ran:
    """The calls of a run that ended; interrupted: there were to be more."""

    calls: Sequence[CallRecord]
    interrupted: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """What stands at the other end. n: variables of a subproblem, classical bits of a circuit."""

    provider: str
    emulated: bool
    n: int


class ProcessGenerator:
    """A child process with one connection to the target; `run` by `run`, then `close`."""

    def __init__(self, target: str, security: ClientTls | Insecure, requests: Sequence[Request]) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve_plans, args=(theirs, target, security, requests), name="shotclock-load", daemon=True
        )
        self._process.start()
        theirs.close()

    def ready(self) -> Loaded:
        """Waits until it is connected and warm.

        Raises MachineError where nobody answers, CircuitError where a circuit cannot be run there.
        """
        found = self._answer()
        if not isinstance(found, Loaded):
            raise MachineError("the load generator's process did not start")
        return found

    def run(self, plan: Plan, number: int) -> Ran:
        """One run; Ctrl-C ends it early and keeps the calls that have ended."""
        self._connection.send((plan, number))
        try:
            found = self._answer()
        except KeyboardInterrupt:
            with suppress(OSError):  # it may have ended already
                self._connection.send(None)
            found = self._answer()
            if isinstance(found, Ran):
                return replace(found, interrupted=True)
        if not isinstance(found, Ran):
            raise MachineError("the load generator's process ended early")
        return found

    def close(self) -> None:
        """Ends the process."""
        with suppress(OSError):  # it may have ended already
            self._connection.send(None)
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._connection.close()

    def _answer(self) -> object:
        try:
            found: object = self._connection.recv()
        except EOFError:
            return None
        if isinstance(found, ShotclockError):
            raise found
        return found


def _serve_plans(
    connection: Connection, target: str, security: ClientTls | Insecure, requests: Sequence[Request]
) -> None:
    """Of the child: takes plans until it is given none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and says so
    with asyncio.Runner(loop_factory=_precise_loop) as runner:
        try:
            dispatcher = runner.run(_dispatcher(target, security))
            connection.send(runner.run(_warm_up(target, security, dispatcher, requests)))
            while (asked := connection.recv()) is not None:
                plan, number = asked
                load = Load(plan, dispatcher, _Monotonic(), requests, number)
                gc.collect()
                gc.freeze()  # a full collection amid a run would be issue lag
                interrupted = runner.run(_interruptible(load, connection))
                connection.send(Ran(load.calls, interrupted))
            runner.run(dispatcher.close())
        except ShotclockError as error:
            connection.send(error)
        except (EOFError, BrokenPipeError):
            return  # the parent is gone, and with it whoever wanted to know


class _Monotonic:
    """A Clock."""

    def now_ns(self) -> int:
        return time.monotonic_ns()


def _precise_loop() -> asyncio.AbstractEventLoop:
    """epoll waits in whole milliseconds, which would be the issue lag; select in microseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def _dispatcher(target: str, security: ClientTls | Insecure) -> GrpcDispatcher:
    return GrpcDispatcher(connect(target, security))


async def _warm_up(
    target: str,
    security: ClientTls | Insecure,
    dispatcher: GrpcDispatcher,
    requests: Sequence[Request],
) -> Loaded:
    """After some calls one after another: connections, caches and templates are there."""
    n = await first_calls(dispatcher, requests[:WARM_CALLS], target)
    operations = GrpcOperations(connect(target, security))
    try:
        status = await operations.status()
    finally:
        await operations.close()
    return Loaded(status.provider, status.emulated, n)


async def first_calls(dispatcher: Dispatcher, requests: Sequence[Request], target: str) -> int:
    """Asks before the measured time, and gives `Loaded.n`. Raises MachineError where nobody answers."""
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
                n = request.n  # a full orchestrator is one to be measured
            case Shed() | Late() | Failed():
                why = why_no_samples(outcome, figures=True)
                raise MachineError(f"{target}: takes no calls: {why}")
    return n


async def _interruptible(load: Load, connection: Connection) -> bool:
    """Whether it ended early: by SIGTERM, at the parent's word, or with it: no orphan goes on asking."""
    task = asyncio.ensure_future(load.generate())
    loop = asyncio.get_running_loop()

    def enough() -> None:  # the parent's one word during a run, which `_serve_plans` reads; or its end
        loop.remove_reader(connection)
        task.cancel()

    loop.add_reader(connection, enough)
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return True
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_reader(connection)
    return False
