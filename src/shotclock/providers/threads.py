"""Threads for vendors' blocking clients, which release the interpreter while they wait for the network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class ClientThreads:
    """A separate Offload for one provider, so that solvers do not wait for its network requests."""

    def __init__(self, name: str, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, f"shotclock-{name}")

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Offload.run`; if the caller is cancelled, the work still runs to its end."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *args, **kwargs))

    def close(self) -> None:
        """Ends the threads without waiting for answers, which may never arrive."""
        self._pool.shutdown(wait=False, cancel_futures=True)
