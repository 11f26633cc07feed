"""An Offload of worker processes that are killed when nobody waits for their work any more."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from shotclock.domain.errors import WorkerError, WorkerFault
from shotclock.domain.recorders import WorkerRestart
from shotclock.runtime.fork_server import LogLine, Work, WorkerLimits, WorkerReply
from shotclock.runtime.worker_process import EndedError, ForkServer, GoneError, OverTimeError, WorkerProcess

P = ParamSpec("P")
T = TypeVar("T")

GRACE_S = 0.02
"""How long work may continue after its caller has gone: most of it is nearly done, and its process is then
used again."""
RETRY_S = 1.0
"""Between two attempts to start a worker process."""
JOIN_LIMIT_S = 5.0
"""How long `join` waits for each thread."""
TRIES = 3
"""Worker processes that may be found dead before a piece of work fails."""
MOST_LOGGED = 1000
"""Different log lines of workers that are remembered, so that each is logged once."""
CLOSED = "the workers are closed"
RESTARTS: dict[WorkerFault, WorkerRestart] = {WorkerFault.TIME: "time", WorkerFault.MEMORY: "memory"}


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """What one kind of work may take.

    workers: processes at most.
    queue: calls that may wait for one.
    limit_s: of one piece of work, seconds, however long its caller would wait.
    memory_mib: data of one process beyond what its imports took, MiB.
    niceness: how far a process gives way to others; 0 is not at all.
    """

    workers: int
    queue: int
    limit_s: float
    memory_mib: int
    niceness: int = 0

    @property
    def of_worker(self) -> WorkerLimits:
        """The limits that a worker keeps by itself."""
        return WorkerLimits(self.memory_mib, self.limit_s + 1.0, self.niceness)


def ignore_restart(reason: WorkerRestart) -> None:
    """Counts nothing."""
    del reason


@dataclass(slots=True, eq=False)
class _Item:
    """A piece of work from its request to its result.

    work: what a process is to run.
    future: what the caller waits for.
    worker: the process that runs it; None before and after.
    is_given_up: whether its caller no longer waits, so that no process may begin it.
    lock: held while `worker` or `is_given_up` changes.
    """

    work: Work
    future: Future[Any] = field(default_factory=Future)
    worker: WorkerProcess | None = None
    is_given_up: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> bool:
        """False where its caller has gone."""
        return self.future.set_running_or_notify_cancel()

    def assign(self, worker: WorkerProcess | None) -> None:
        """Sets the process that runs it, or None when it has ended."""
        with self.lock:
            self.worker = worker
            if worker is not None and self.is_given_up:
                worker.kill()

    def kill(self) -> None:
        """Ends the process that runs it, if there is one."""
        with self.lock:
            self.is_given_up = True
            if self.worker is not None:
                self.worker.kill()

    def fail(self, error: BaseException) -> None:
        """Hands the error to the caller, if it still waits."""
        if self.future.running() or self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class WorkerPool:
    """Implements Offload. A process starts with the first work that finds none free."""

    def __init__(self, name: str, server: ForkServer, limits: PoolLimits) -> None:
        self._name = name
        self._server = server
        self._limits = limits
        self._prepare: tuple[Work, ...] = ()
        self._queue: deque[_Item] = deque()
        self._running: set[_Item] = set()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._logged: set[LogLine] = set()
        self._closed = False
        self._changed = threading.Condition()
        self.on_restart: Callable[[WorkerRestart], None] = ignore_restart

    def prepare(self, work: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Runs this first in every new process, to import and to fill caches. It must not start a thread."""
        self._prepare = (*self._prepare, (work, args, kwargs))

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Offload.run`; whoever is cancelled has its process killed. Raises WorkerError."""
        item = _Item((work, args, kwargs))
        self._put(item)
        try:
            result: T = await asyncio.wrap_future(item.future)
        except asyncio.CancelledError:
            self._give_up(item)
            raise
        return result

    def stop(self) -> None:
        """Kills what runs and refuses what waits; `join` follows."""
        with self._changed:
            self._closed = True
            waiting, self._queue = tuple(self._queue), deque()
            self._changed.notify_all()
            running = tuple(self._running)
        for item in waiting:
            item.fail(WorkerError(WorkerFault.START, CLOSED))
        for item in running:
            item.kill()

    def join(self) -> None:
        """Waits for the threads after `stop`; they wait only for processes that end."""
        for thread in self._threads:
            thread.join(JOIN_LIMIT_S)

    def _put(self, item: _Item) -> None:
        limits = self._limits
        with self._changed:
            if self._closed:
                raise WorkerError(WorkerFault.START, CLOSED)
            if len(self._queue) + len(self._running) >= limits.queue + limits.workers:
                what = f"{self._name}: {len(self._queue)} calls wait for a worker already"
                raise WorkerError(
                    WorkerFault.QUEUE, what, limits.queue, len(self._queue), "calls waiting for a worker", 1.0
                )
            self._queue.append(item)
            if len(self._queue) > self._idle and len(self._threads) < limits.workers:
                thread = threading.Thread(target=self._serve, name="shotclock-worker", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify()

    def _give_up(self, item: _Item) -> None:
        with self._changed:
            if item in self._queue:
                self._queue.remove(item)
        asyncio.get_running_loop().call_later(GRACE_S, item.kill)

    def _serve(self) -> None:
        """What each thread runs: a process at a time, which does a piece of work at a time."""
        worker = self._try_start()
        while True:
            item = self._take(None if worker is not None else RETRY_S)
            if self._closed:
                break
            worker = worker or self._try_start()
            if item is not None:
                worker = self._answer(item, worker)
                with self._changed:
                    self._running.discard(item)
        if item is not None:
            item.fail(WorkerError(WorkerFault.START, CLOSED))
        if worker is not None:
            worker.end()

    def _try_start(self) -> WorkerProcess | None:
        try:
            return self._server.fork(self._limits.of_worker, self._prepare)
        except WorkerError:
            return None

    def _take(self, timeout_s: float | None) -> _Item | None:
        """The next in the queue; None when closed, or after this long without any."""
        with self._changed:
            self._idle += 1
            try:
                if not self._queue and not self._closed:
                    self._changed.wait(timeout_s)
                item = self._queue.popleft() if self._queue else None
            finally:
                self._idle -= 1
            if item is not None:
                self._running.add(item)
            return item

    def _answer(self, item: _Item, worker: WorkerProcess | None) -> WorkerProcess | None:
        """The process to continue with; None if no process can be started."""
        if not item.begin():
            return worker
        for _ in range(TRIES):
            if worker is None:
                break
            try:
                reply = self._call(item, worker)
            except GoneError:  # killed while it had nothing to do: nobody's fault
                self.on_restart("died")
                worker = self._try_start()
                continue
            except (EndedError, OverTimeError):
                return self._try_start()
            except BaseException as error:  # noqa: BLE001 - work that does not pickle is its caller's mistake
                item.fail(error)
                return worker
            self._hand_over(item, reply)
            if not reply.is_last:
                return worker
            worker.end()
            return self._try_start()
        item.fail(WorkerError(WorkerFault.START, self._server.failure or CLOSED, 1, 0, "workers", 1.0))
        return worker

    def _call(self, item: _Item, worker: WorkerProcess) -> WorkerReply:
        """The worker's reply; raises an error of the worker, which is then gone."""
        item.assign(worker)
        if self._closed:
            worker.kill()
        try:
            return worker.call(item.work, self._limits.limit_s)
        except GoneError:
            item.assign(None)
            worker.end()
            raise
        except (EndedError, OverTimeError) as error:
            item.assign(None)
            status = worker.end()
            self._lose(item, WorkerFault.TIME if isinstance(error, OverTimeError) else _fault(status))
            raise
        finally:
            item.assign(None)

    def _hand_over(self, item: _Item, reply: WorkerReply) -> None:
        for line in reply.log:
            self._log_once(line)
        # before the caller goes on, who may read the count at once
        if reply.is_last and reply.kind != "memory":
            self.on_restart("grown")
        match reply.kind:
            case "done":
                item.future.set_result(reply.value)
            case "raised":
                item.fail(reply.value)
            case "memory":
                self._lose(item, WorkerFault.MEMORY)

    def _log_once(self, line: LogLine) -> None:
        """Every worker reports the same unwritable folder; one line is enough."""
        with self._changed:
            is_new = line not in self._logged
            if is_new and len(self._logged) < MOST_LOGGED:
                self._logged.add(line)
        if is_new:
            logging.getLogger(line.logger).log(line.level, "%s", line.message)

    def _lose(self, item: _Item, fault: WorkerFault) -> None:
        """The process ended on this work."""
        if self._closed:
            item.fail(WorkerError(WorkerFault.START, CLOSED))
            return
        if item.is_given_up:
            self.on_restart("abandoned")
            item.fail(WorkerError(WorkerFault.DIED, "given up: its caller had gone"))
            return
        self.on_restart(RESTARTS.get(fault, "died"))
        item.fail(self._explain(fault))

    def _explain(self, fault: WorkerFault) -> WorkerError:
        limits = self._limits
        match fault:
            case WorkerFault.TIME:
                what, limit = f"took longer than {limits.limit_s:g} s", limits.limit_s
                return WorkerError(fault, f"{self._name} {what}", limit, limit, "s of work")
            case WorkerFault.MEMORY:
                what = f"needs more than {limits.memory_mib} MiB of memory"
                mib = float(limits.memory_mib)
                return WorkerError(fault, f"{self._name} {what}", mib, mib, "MiB of memory")
            case _:
                what = "ended its worker process, which was replaced"
                return WorkerError(fault, f"{self._name} {what}", 0, 1, "worker processes lost")


def _fault(status: int | None) -> WorkerFault:
    """What a process's end says: over its time the kernel ends it, without memory Rust and C++ abort."""
    number = os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else 0
    if number == signal.SIGXCPU:
        return WorkerFault.TIME
    return WorkerFault.MEMORY if number == signal.SIGABRT else WorkerFault.DIED
