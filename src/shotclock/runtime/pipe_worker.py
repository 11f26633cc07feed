"""A worker process behind pipes alone, for hosts without semaphores.

`ProcessPoolExecutor` needs POSIX semaphores, which live in /dev/shm; where that is read-only or missing
(hardened containers), nothing could be compiled.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

Work = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

SPAWN = multiprocessing.get_context("spawn")


def has_semaphores() -> bool:
    """Whether this host lets a process make one."""
    try:
        SPAWN.Lock()
    except OSError:
        return False
    return True


class PipeExecutor(Executor):
    """One spawned process, one piece of work at a time; it starts with the first.

    initializer: what the process runs before its first work. A process that died is BrokenProcessPool.
    """

    def __init__(self, initializer: Callable[[], None]) -> None:
        self._initializer = initializer
        self._thread = ThreadPoolExecutor(1, "shotclock-worker")
        self._connection: Connection | None = None
        self._process: Any = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See `Executor.submit`; the work, its arguments and its result must pickle."""
        return self._thread.submit(self._run, (fn, args, kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor.shutdown`."""
        with suppress(RuntimeError):  # it was shut down before
            self._thread.submit(self._end)
        self._thread.shutdown(wait=wait, cancel_futures=False)
        del cancel_futures  # what waits is refused by the ended process

    def _run(self, work: Work) -> Any:
        connection = self._connection or self._start()
        try:
            connection.send(work)
            ok, result = connection.recv()
        except (EOFError, OSError) as error:
            raise BrokenProcessPool("the worker process died") from error
        if not ok:
            raise result
        return result

    def _start(self) -> Connection:
        self._connection, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(
            target=_serve_work, args=(theirs, self._initializer), name="shotclock-worker", daemon=True
        )
        self._process.start()
        theirs.close()
        return self._connection

    def _end(self) -> None:
        if self._connection is None:
            return
        self._connection.close()
        self._process.join()


def _serve_work(connection: Connection, initializer: Callable[[], None]) -> None:
    """Of the process: works until the other end is closed."""
    initializer()
    while True:
        try:
            fn, args, kwargs = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(_result(fn, args, kwargs))


def _result(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bool, Any]:
    try:
        return True, fn(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - it is raised again where the work was asked for
        return False, error
