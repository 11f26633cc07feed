"""Calls of an honest client, and of a second one that a drill may let misbehave."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np

from shotclock.app.drills.record import CallRecord
from shotclock.app.drills.site import N
from shotclock.app.host_failure import FailingMemory
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.subproblem import Subproblem
from shotclock.orchestrator.race import classical
from shotclock.solvers.fallback import Classical
from shotclock.wire.channels import ChannelLimits, connect
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.tls import ClientTls

BUDGET_S = 5.0
"""Of a call; IBM's client takes a second for a job where the machine is busy."""
GRACE_S = 60.0
"""A call that has not ended so long after its deadline is lost."""


class Load:
    """Open-loop calls: `rate` a second, each of `size(number)` variables.

    rate: may be changed while it runs, calls a second.
    endings: ended calls by outcome; lost ones under "lost".
    """

    def __init__(
        self,
        target: str,
        identity: ClientTls,
        rate: float,
        size: Callable[[int], int],
        *,
        fallback: bool,
        budget_s: float,
        memory: FailingMemory | None = None,
    ) -> None:
        self.rate = rate
        self._budget_s = budget_s
        self.total = 0
        self.endings: Counter[str] = Counter()
        self._size = size
        solver = Classical()
        self._channels = connect(target, identity, ChannelLimits(reconnect_s=0.5))
        if memory is not None:
            memory.attach(self._channels)
        self._dispatcher = GrpcDispatcher(
            self._channels, fallback=(lambda subproblem: classical(subproblem, solver)) if fallback else None
        )
        self._calls: set[asyncio.Task[None]] = set()

    def record(self) -> CallRecord:
        """How the calls ended so far."""
        ends = self.endings
        answered, lost = ends["Done"] + ends["Degraded"], ends["lost"]
        return CallRecord(self.total, ends["Done"], ends["Degraded"], ends.total() - answered - lost, lost)

    async def run(self) -> None:
        """Makes calls until it is cancelled."""
        while True:
            self._start_call()
            await asyncio.sleep(1.0 / self.rate)

    async def finish(self) -> None:
        """Waits for the calls in progress, and closes the connection."""
        if self._calls:
            await asyncio.wait(self._calls)
        await self._channels.close()

    def _start_call(self) -> None:
        self.total += 1
        call = asyncio.create_task(self._call(self.total))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _call(self, number: int) -> None:
        subproblem = replace(
            random_subproblem(self._size(number), number),
            budget_ns=round(self._budget_s * NS_PER_S),
            request_id=f"drill-{id(self)}-{number}",
            fresh=True,  # each call is a job, never a cached answer
        )
        try:
            async with asyncio.timeout(self._budget_s + GRACE_S):
                outcome = await self._dispatcher.solve(subproblem)
        except TimeoutError:
            self.endings["lost"] += 1
        else:
            self.endings[type(outcome).__name__] += 1


def random_subproblem(n: int, seed: int) -> Subproblem:
    """A dense subproblem with normal coefficients."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.normal(size=(n, n)), k=1)
    return Subproblem(upper + upper.T, rng.normal(size=n))


@asynccontextmanager
async def run_load(
    target: str,
    identity: ClientTls,
    *,
    rate: float,
    size: Callable[[int], int] = lambda _: N,
    fallback: bool = True,
    budget_s: float = BUDGET_S,
    memory: FailingMemory | None = None,
) -> AsyncGenerator[Load, None]:
    """Calls at this rate while the block runs; waits for their ends afterwards."""
    load = Load(target, identity, rate, size, fallback=fallback, budget_s=budget_s, memory=memory)
    running = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        running.cancel()
        await load.finish()


async def wait_for(condition: Callable[[], bool], what: str, limit_s: float) -> None:
    """Waits until the condition holds. Raises TimeoutError that names it."""
    try:
        async with asyncio.timeout(limit_s):
            while not condition():  # noqa: ASYNC110 - what changes is in another process
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise TimeoutError(f"{what}: not within {limit_s:g} s") from None
