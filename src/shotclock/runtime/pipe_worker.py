"""A worker process that needs only pipes, for hosts without semaphores.

`ProcessPoolExecutor` needs POSIX semaphores, which live in /dev/shm. In hardened containers that is
read-only or missing, and without this executor nothing could be compiled.
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
    """Whether a process can create a semaphore on this host."""
    try:
        SPAWN.Lock()
    except OSError:
        return False
    return True


class PipeExecutor(Executor):
    """One spawned process that does one piece of work at a time; the first submission starts it.

    initializer: what the process runs first. A process that died raises BrokenProcessPool.
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
        with suppress(RuntimeError):  # already shut down
            self._thread.submit(self._end)
        self._thread.shutdown(wait=wait, cancel_futures=False)
        del cancel_futures  # waiting work fails because the process has ended

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
    """Runs in the worker process until the other end of the pipe is closed."""
    initializer()
    while True:
        try:
            fn, args, kwargs = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(_call(fn, args, kwargs))


def _call(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bool, Any]:
    try:
        return True, fn(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - the submitting process raises it again
        return False, error
