"""Where work that would hold the interpreter runs: another process, or right here in simulation."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import ParamSpec, TypeVar

from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.runtime.pipe_worker import PipeExecutor, has_semaphores

P = ParamSpec("P")
T = TypeVar("T")


class ProcessOffload:
    """One spawned worker process (never a fork: threads and numba are already running)."""

    def __init__(self) -> None:
        self._pool = _spawn()

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Offload.run`; a worker that died raises a transient ProviderError and is replaced."""
        pool = self._pool
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, partial(work, *args, **kwargs))
        except BrokenProcessPool as error:
            if self._pool is pool:  # the first of those who lost it replaces it
                pool.shutdown(wait=False)
                self._pool = _spawn()
            raise ProviderError(FaultKind.TRANSIENT, "the worker process died and was replaced") from error

    def close(self) -> None:
        """Ends the worker."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class ThreadOffload:
    """One thread, for work that lets go of the interpreter: numba's solvers do."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "shotclock-solver")

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Offload.run`."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *args, **kwargs))

    def close(self) -> None:
        """Ends the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class InlineOffload:
    """Runs the work at once, on the caller's thread: nothing happens outside the loop's own time."""

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Offload.run`."""
        return work(*args, **kwargs)

    def close(self) -> None:
        """Nothing to end."""


def _spawn() -> ProcessPoolExecutor | PipeExecutor:
    if not has_semaphores():
        return PipeExecutor(_ignore_interrupts)
    return ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn"), initializer=_ignore_interrupts
    )


def _ignore_interrupts() -> None:
    """Ctrl-C reaches the whole foreground group, and only the parent decides what it means; a parent that
    was killed decides nothing any more: the worker goes with it.
    """
    import signal  # noqa: PLC0415 - runs in the worker alone

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, name="shotclock-parent", daemon=True).start()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
