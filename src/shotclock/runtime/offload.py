"""Runs work that would hold the interpreter: in another process, or inline in simulation."""

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
        """See `Offload.run`; if the worker dies, raises a transient ProviderError and starts another."""
        pool = self._pool
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, partial(work, *args, **kwargs))
        except BrokenProcessPool as error:
            if self._pool is pool:  # only the first caller that sees the failure replaces it
                pool.shutdown(wait=False)
                self._pool = _spawn()
            raise ProviderError(FaultKind.TRANSIENT, "the worker process died and was replaced") from error

    def close(self) -> None:
        """Ends the worker."""
        self._pool.shutdown(wait=True, cancel_futures=True)


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

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Offload.run`."""
        return work(*args, **kwargs)

    def close(self) -> None:
        """Does nothing: no worker is running."""


def _spawn() -> ProcessPoolExecutor | PipeExecutor:
    if not has_semaphores():
        return PipeExecutor(_ignore_interrupts)
    return ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn"), initializer=_ignore_interrupts
    )


def _ignore_interrupts() -> None:
    """Leaves Ctrl-C to the parent, though it reaches the whole foreground process group, and ends the worker
    when the parent dies.
    """
    import signal  # noqa: PLC0415 - runs in the worker alone

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, name="shotclock-parent", daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
