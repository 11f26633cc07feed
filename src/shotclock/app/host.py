"""Hosts of a running system: real time with a worker process, or virtual time on one thread."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from shotclock.domain.ports import Caller, CircuitCaller, Clock, Dispatcher
from shotclock.runtime.loop_thread import (
    LoopThread,
    SystemClock,
    ThreadCaller,
    ThreadCircuitCaller,
    cancel_all,
)
from shotclock.runtime.offload import (
    DEFAULT_POLICY,
    InlineOffload,
    InlineWorkers,
    ProcessWorkers,
    ThreadOffload,
    UntimedOffload,
    WorkersPolicy,
)
from shotclock.runtime.virtual_loop import VirtualCaller, VirtualCircuitCaller, VirtualLoop
from shotclock.settings import Settings

T = TypeVar("T")


class Host(Protocol):
    """Runs dispatchers.

    clock: the event loop's clock.
    offload: for work that holds the interpreter.
    threads: for work that releases the interpreter.
    """

    clock: Clock
    workers: ProcessWorkers | InlineWorkers
    threads: ThreadOffload | InlineOffload

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the loop and waits for it."""

    def caller(self, dispatcher: Dispatcher) -> Caller:
        """The dispatcher's interface for synchronous code."""

    def circuit_caller(self, dispatcher: Dispatcher) -> CircuitCaller:
        """The same for circuits."""

    def close(self) -> None:
        """Ends the loop and the workers."""


class WallHost:
    """Real time: an event-loop thread, and a worker process that does not compete with training."""

    def __init__(self, policy: WorkersPolicy = DEFAULT_POLICY) -> None:
        self.clock: Clock = SystemClock()
        self.workers: ProcessWorkers | InlineWorkers = ProcessWorkers(policy)
        self.threads: ThreadOffload | InlineOffload = ThreadOffload()
        self._thread = LoopThread()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """See `Host.run`."""
        return self._thread.run(work)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs a coroutine on the loop without waiting for it; it reports its own trouble."""
        self._thread.submit(work)

    def caller(self, dispatcher: Dispatcher) -> Caller:
        """See `Host.caller`."""
        return ThreadCaller(dispatcher, self._thread)

    def circuit_caller(self, dispatcher: Dispatcher) -> CircuitCaller:
        """See `Host.circuit_caller`."""
        return ThreadCircuitCaller(dispatcher, self._thread)

    def close(self) -> None:
        """See `Host.close`."""
        self._thread.close()
        self.workers.close()
        self.threads.close()


def workers_policy(settings: Settings) -> WorkersPolicy:
    """`[workers]` as the host takes it."""
    chosen = settings.workers
    return WorkersPolicy(
        workers=chosen.circuit_workers,
        queue=chosen.queue_limit,
        template_s=chosen.template_limit_s,
        circuit_s=chosen.circuit_limit_s,
        sampling_s=chosen.sampling_limit_s,
        memory_mib=chosen.memory_mib,
    )


class VirtualHost:
    """Virtual time: everything runs on the caller's thread, and waits are skipped."""

    def __init__(self) -> None:
        self._loop = VirtualLoop()
        self.clock: Clock = self._loop
        untimed = UntimedOffload(self._loop.now_ns, self._loop.advance)
        self.workers: ProcessWorkers | InlineWorkers = InlineWorkers(untimed)
        self.threads: ThreadOffload | InlineOffload = InlineOffload()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """See `Host.run`."""
        return self._loop.run(work)

    def caller(self, dispatcher: Dispatcher) -> Caller:
        """See `Host.caller`."""
        return VirtualCaller(dispatcher, self._loop)

    def circuit_caller(self, dispatcher: Dispatcher) -> CircuitCaller:
        """See `Host.circuit_caller`."""
        return VirtualCircuitCaller(dispatcher, self._loop)

    def close(self) -> None:
        """See `Host.close`."""
        self._loop.run(cancel_all())
        self._loop.close()
