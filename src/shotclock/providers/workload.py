"""Where jobs run: alone, in a batch, or in a session that is closed when nothing has run for a while.

A session is charged by the wall clock from its first job to its end, a batch and a lone job by the time
the QPU is locked. So an idle session is closed and the next job opens another; what it idled away is on
its bill.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import Generic

from shotclock.domain.errors import ProviderError
from shotclock.domain.ports import Offload
from shotclock.providers.client import Client, ExecutionMode, J, L
from shotclock.providers.money import MoneyBudget
from shotclock.providers.session_account import SessionAccount


@dataclass(frozen=True, slots=True)
class WorkloadPolicy:
    """mode: the vendor's execution mode. max_time_s: the longest a session or batch may last.

    idle_s: a session without a job for so long is closed. A max_time_s of None is the vendor's own.
    """

    mode: ExecutionMode = "job"
    max_time_s: int | None = None
    idle_s: float = 5.0


ALONE = WorkloadPolicy()
ASKED_AGAIN = 8
"""Sessions that ended last and have not reported their usage: a figure may come after the end."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What a session was charged, seconds: usage_s in all, of it jobs_s while its jobs had the QPU."""

    session_id: str
    usage_s: float
    jobs_s: float

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
        """Ended sessions of which no usage could be read, or not yet."""
        self._client = client
        self._threads = threads
        self._budget = budget
        self._opening = asyncio.Lock()
        self._open: L | None = None
        self._lost: list[L] = []
        self._unreported: deque[L] = deque(maxlen=ASKED_AGAIN)
        self._accounts: dict[str, SessionAccount] = {}
        self._jobs = 0
        self._idling: asyncio.Task[None] | None = None

    async def enter(self) -> L:
        """The workload for one more job, ended by `leave` or `drop`. Raises ProviderError."""
        if self._idling is not None:
            self._idling.cancel()
            self._idling = None
        async with self._opening:
            if self._open is None:
                self._open = await self._opened()
        self._jobs += 1
        account = self.account(self._open)
        if account is not None:
            account.entered += 1
        return self._open

    async def _opened(self) -> L:
        """A new workload; without money for a session's idle time it ends at once."""
        opened = await self._threads.run(self._client.open, self.policy.mode, self.policy.max_time_s)
        # A session that a scheduler holds has no id here, and is not ours to pay.
        if self.policy.mode == "session" and opened.id:
            account = SessionAccount(self._budget, opened.id, self.policy.idle_s)
            try:
                account.open()
            except ProviderError:
                with contextlib.suppress(ProviderError):  # the vendor ends it by its own TTL
                    await self._threads.run(self._client.close, opened)
                raise
            self._accounts[opened.id] = account
        return opened

    def account(self, lease: L) -> SessionAccount | None:
        """The account of a session that is open or was lost; None of any other workload."""
        return self._accounts.get(lease.id)

    def leave(
        self, ran_s: float = 0.0, account: SessionAccount | None = None, *, accepted: bool = True
    ) -> None:
        """A job ended, or was not accepted; ran_s: how long it had the QPU. account: of its session, where
        it is another than the one that is open.
        """
        if account is None and self._open is not None:
            account = self.account(self._open)
        if account is not None:
            account.jobs_s += ran_s
            account.entered -= not accepted
        self._jobs -= 1
        if self._jobs == 0 and self.policy.mode == "session":
            self._idling = asyncio.ensure_future(self._idle_out())

    async def book(
        self, key: str, usage_s: float | None, estimate_s: float, account: SessionAccount | None = None
    ) -> None:
        """A job's final usage; None where it is not known, then the estimate is kept. account: of its
        session, which is asked for its usage too while it is open.
        """
        if account is None:
            self._budget.commit(key, estimate_s)
            self._budget.spend(key, usage_s)
            return
        account.book_job(key, usage_s, estimate_s)
        under_way = (self._open, *self._lost, *self._unreported)
        lease = next((one for one in under_way if one and one.id == account.session_id), None)
        if lease is not None:
            with contextlib.suppress(ProviderError):  # what is known of it is kept until the next job
                account.read(await self._threads.run(self._client.usage_s, lease))

    def drop(self, lease: L) -> None:
        """The service closed it; the next job opens another. The one that saw it was not accepted."""
        self._jobs -= 1
        account = self.account(lease)
        if account is not None:
            account.entered -= 1
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
        for _ in range(len(self._unreported)):
            self.untold -= 1
            lost.append(self._unreported.popleft())
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
        account = self.account(ended)
        if account is None:
            return
        reported: float | None = None
        with contextlib.suppress(ProviderError):
            reported = await self._threads.run(self._client.usage_s, ended)
        if account.close(reported):
            del self._accounts[ended.id]
            self.bills.append(Bill(ended.id, account.usage_s, account.jobs_s))
            return
        # Its jobs, and the idle time that was promised to it, stay counted; it is asked once more later.
        self.untold += 1
        if len(self._unreported) == ASKED_AGAIN:
            self._accounts.pop(self._unreported.popleft().id, None)
        self._unreported.append(ended)

    async def _idle_out(self) -> None:
        await asyncio.sleep(self.policy.idle_s)
        self._idling = None
        with contextlib.suppress(ProviderError):  # the vendor ends it by its own TTL
            await self.close()
