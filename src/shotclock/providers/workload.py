"""Where jobs run: alone, in a batch, or in a session that is closed when nothing has run for a while.

A session is charged by the wall clock from its first job to its end, a batch and a lone job by the time
the QPU is locked. So an idle session is closed and the next job opens another; what it idled away is on
its bill.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Generic

from shotclock.domain.errors import ProviderError
from shotclock.domain.ports import Offload
from shotclock.providers.client import Client, ExecutionMode, J, L
from shotclock.providers.money import MoneyBudget


@dataclass(frozen=True, slots=True)
class WorkloadPolicy:
    """mode: the vendor's execution mode. max_time_s: the longest a session or batch may last.

    idle_s: a session without a job for so long is closed. A max_time_s of None is the vendor's own.
    """

    mode: ExecutionMode = "job"
    max_time_s: int | None = None
    idle_s: float = 5.0


ALONE = WorkloadPolicy()


@dataclass(frozen=True, slots=True)
class Bill:
    """What a session was charged, seconds: usage_s in all, of it jobs_s while its jobs had the QPU."""

    session_id: str
    usage_s: float
    jobs_s: float

    @property
    def told(self) -> bool:
        """Whether the vendor says at all what sessions are charged: never less than their jobs ran."""
        return self.usage_s > 0.0 or self.jobs_s == 0.0

    @property
    def idle_s(self) -> float:
        """Charged while nothing ran."""
        return max(0.0, self.usage_s - self.jobs_s)


class SharedWorkload(Generic[J, L]):
    """The one workload that is open, and its bills; job mode opens nothing."""

    def __init__(
        self, client: Client[J, L], threads: Offload, policy: WorkloadPolicy, budget: MoneyBudget
    ) -> None:
        self.policy = policy
        self.bills: list[Bill] = []
        self.untold = 0
        """Sessions of which no usage could be read."""
        self._client = client
        self._threads = threads
        self._budget = budget
        self._opening = asyncio.Lock()
        self._open: L | None = None
        self._lost: list[L] = []
        self._jobs = 0
        self._jobs_s = 0.0
        self._idling: asyncio.Task[None] | None = None

    async def enter(self) -> L:
        """The workload for one more job, ended by `leave` or `lost`. Raises ProviderError."""
        if self._idling is not None:
            self._idling.cancel()
            self._idling = None
        async with self._opening:
            if self._open is None:
                opened = await self._threads.run(self._client.open, self.policy.mode, self.policy.max_time_s)
                if self.policy.mode == "session":
                    await self._promise(opened)
                self._open = opened
        self._jobs += 1
        return self._open

    async def _promise(self, opened: L) -> None:
        """Keeps money for the idle time that any session may have; without it the session ends at once."""
        try:
            self._budget.reserve(opened.id, self.policy.idle_s)
        except ProviderError:
            await self._threads.run(self._client.close, opened)
            raise

    def leave(self, ran_s: float = 0.0) -> None:
        """A job ended, or was not accepted; ran_s: how long it had the QPU."""
        self._jobs -= 1
        self._jobs_s += ran_s
        if self._jobs == 0 and self.policy.mode == "session":
            self._idling = asyncio.ensure_future(self._idle_out())

    async def book(self, key: str, usage_s: float) -> None:
        """A job's final usage; in a session it is part of the session's."""
        if self.policy.mode != "session":
            self._budget.spend(key, usage_s)
            return
        self._budget.release(key)
        if self._open is not None:
            with contextlib.suppress(ProviderError):  # the promise stands until the next job
                session_s = await self._threads.run(self._client.usage_s, self._open)
                self._budget.spend(self._open.id, session_s + self.policy.idle_s)

    def lost(self, lease: L) -> None:
        """The service closed it; the next job opens another."""
        self._jobs -= 1
        if self._open is lease:
            self._open = None
            self._lost.append(lease)

    async def close(self) -> None:
        """Ends the workload; what runs in it still ends well."""
        if self._idling is not None:
            self._idling.cancel()
            self._idling = None
        ended, self._open = self._open, None
        lost, self._lost = self._lost, []
        for lease in lost:
            await self._charge(lease)
        if ended is None or not ended.id:
            return
        try:
            await self._threads.run(self._client.close, ended)
        finally:
            await self._charge(ended)

    async def _charge(self, ended: L) -> None:
        """Keeps the bill of a session that has ended."""
        if self.policy.mode != "session":
            return
        jobs_s, self._jobs_s = self._jobs_s, 0.0
        try:
            usage_s = await self._threads.run(self._client.usage_s, ended)
        except ProviderError:
            self.untold += 1  # what was promised to it stands
            return
        self._budget.spend(ended.id, usage_s)
        bill = Bill(ended.id, usage_s, jobs_s)
        if bill.told:
            self.bills.append(bill)
        else:
            self.untold += 1

    async def _idle_out(self) -> None:
        await asyncio.sleep(self.policy.idle_s)
        self._idling = None
        with contextlib.suppress(ProviderError):  # the vendor ends it by its own TTL
            await self.close()
