"""Threads for vendors' blocking clients: they wait for the network, which lets go of the interpreter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class ClientThreads:
    """An Offload of one provider's own, so that no solver waits for a network and no poll for a submit."""

    def __init__(self, name: str, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, f"shotclock-{name}")

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Offload.run`; who is cancelled leaves the work to its end."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *args, **kwargs))

    def close(self) -> None:
        """Lets the threads go, without waiting for an answer that may never come."""
        self._pool.shutdown(wait=False, cancel_futures=True)
