"""Runs work that would hold the interpreter: in worker processes, or inline in simulation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

from shotclock.domain.recorders import WorkerRestart
from shotclock.runtime.worker_pool import PoolLimits, WorkerPool
from shotclock.runtime.worker_process import ForkServer

P = ParamSpec("P")
T = TypeVar("T")

USER_NICENESS = 10
"""User circuits take the cores that nothing else needs."""


@dataclass(frozen=True, slots=True)
class WorkersPolicy:
    """The limits of every kind of work.

    workers: processes of each kind of user circuits' work.
    queue: calls that may wait for one of a kind.
    template_s, circuit_s, sampling_s: the longest compile of a template, read or compile of a user circuit,
    emulation of one job.
    memory_mib: data of one process beyond what its imports took.
    """

    workers: int = 2
    queue: int = 64
    template_s: float = 60.0
    circuit_s: float = 60.0
    sampling_s: float = 600.0
    memory_mib: int = 2048


DEFAULT_POLICY = WorkersPolicy()
UNQUEUED = 1 << 30
"""For work that was admitted already."""


class ProcessWorkers:
    """The worker processes of one host, by kind: none of them waits for another's work."""

    def __init__(self, policy: WorkersPolicy = DEFAULT_POLICY) -> None:
        self._server = ForkServer()
        memory, user = policy.memory_mib, policy.workers

        def pool(name: str, workers: int, queue: int, limit_s: float, niceness: int = 0) -> WorkerPool:
            limits = PoolLimits(workers, queue, limit_s, memory, niceness)
            return WorkerPool(name, self._server, limits)

        self.templates = pool("compiling the template", 1, UNQUEUED, policy.template_s)
        self.samples = self.emulation = pool("emulating the job", 2, UNQUEUED, policy.sampling_s)
        self.circuits = pool("compiling the circuit", user, policy.queue, policy.circuit_s, USER_NICENESS)
        self.circuit_samples = pool(
            "emulating the circuit", user, policy.queue, policy.sampling_s, USER_NICENESS
        )
        self._pools = (self.templates, self.samples, self.circuits, self.circuit_samples)

    def report_restarts(self, count: Callable[[WorkerRestart], None]) -> None:
        """Has every replacement of a process counted, by its reason; from any thread."""
        for pool in self._pools:
            pool.on_restart = count

    def impediment(self) -> str:
        """Why no worker can be started, "" while they can."""
        return self._server.failure

    def close(self) -> None:
        """Kills them all."""
        for pool in self._pools:
            pool.stop()
        self._server.stop()
        for pool in self._pools:
            pool.join()
        self._server.close()


class ProcessOffload(WorkerPool):
    """One worker process by itself, without a limit of time."""

    def __init__(self, memory_mib: int = DEFAULT_POLICY.memory_mib) -> None:
        self._own_server = ForkServer()
        super().__init__("the work", self._own_server, PoolLimits(1, UNQUEUED, 1e6, memory_mib))

    def close(self) -> None:
        """Kills it."""
        self.stop()
        self._own_server.stop()
        self.join()
        self._own_server.close()


class ThreadOffload:
    """One thread, for work that releases the GIL, as numba's solvers do."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "shotclock-solver")

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Offload.run`."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *args, **kwargs))

    def close(self) -> None:
        """Ends the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class InlineOffload:
    """Runs the work immediately on the caller's thread, so that nothing happens outside the loop's time."""

    def prepare(self, work: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Whatever the work needs is loaded by its first run."""

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Offload.run`."""
        return work(*args, **kwargs)

    def close(self) -> None:
        """Does nothing: no worker is running."""


class UntimedOffload(InlineOffload):
    """Runs the work immediately and takes its duration back from the virtual clock.

    For emulated samples: a QPU's time is modelled, and this machine's computing does not belong to it.
    """

    def __init__(self, now_ns: Callable[[], int], advance: Callable[[int], None]) -> None:
        self._now_ns = now_ns
        self._advance = advance

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Offload.run`."""
        began_ns = self._now_ns()
        try:
            return work(*args, **kwargs)
        finally:
            self._advance(began_ns - self._now_ns())


class InlineWorkers:
    """ProcessWorkers' face for simulation: everything at once, on the caller's thread.

    emulation: computes an emulated QPU's samples; None times it like everything else.
    """

    def __init__(self, emulation: InlineOffload | None = None) -> None:
        self.templates = self.samples = self.circuits = self.circuit_samples = InlineOffload()
        self.emulation = emulation or self.samples

    def report_restarts(self, count: Callable[[WorkerRestart], None]) -> None:
        """Nothing is ever replaced."""

    def impediment(self) -> str:
        """Nothing has to be started."""
        return ""

    def close(self) -> None:
        """Nothing to end."""
