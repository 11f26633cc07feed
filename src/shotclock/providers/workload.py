"""Runs jobs alone, in a batch, or in a session that is closed after some idle time.

A session is charged by the wall clock from its first job to its end, a batch or a single job by the time the
QPU is locked. So an idle session is closed and the next job opens another; its idle time is charged.
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
    """How jobs are run.

    mode: the vendor's execution mode.
    max_time_s: maximum length of a session or batch, seconds; None is the vendor's default.
    idle_s: a session without a job for this long is closed, seconds.
    """

    mode: ExecutionMode = "job"
    max_time_s: int | None = None
    idle_s: float = 5.0


ALONE = WorkloadPolicy()
ASKED_AGAIN = 8
"""The most recent sessions without reported usage that are asked again: it may be reported late."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What a session was charged.

    session_id: the vendor's id.
    usage_s: total, seconds.
    jobs_s: the part during which its jobs had the QPU, seconds.
    """

    session_id: str
    usage_s: float
    jobs_s: float

    @property
    def idle_s(self) -> float:
        """The part charged while no job ran, seconds."""
        return max(0.0, self.usage_s - self.jobs_s)


class SharedWorkload(Generic[J, L]):
    """The open session or batch, shared by all jobs, and the bills of ended ones; job mode opens none."""

    def __init__(
        self, client: Client[J, L], threads: Offload, policy: WorkloadPolicy, budget: MoneyBudget
    ) -> None:
        self.policy = policy
        self.bills: list[Bill] = []
        self.unreported_sessions = 0
        """Ended sessions whose usage could not be read, or not yet."""
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
        """The workload for one more job, to be ended by `leave` or `drop`. Raises ProviderError."""
        if self._idling is not None:
            self._idling.cancel()
            self._idling = None
        async with self._opening:
            if self._open is None:
                self._open = await self._open_lease()
        self._jobs += 1
        account = self.account(self._open)
        if account is not None:
            account.entered += 1
        return self._open

    async def _open_lease(self) -> L:
        """Opens a workload; closes it at once if the budget has no money for a session's idle time."""
        lease = await self._threads.run(self._client.open, self.policy.mode, self.policy.max_time_s)
        # A scheduler's session has no id here, and is not charged to this budget.
        if self.policy.mode == "session" and lease.id:
            account = SessionAccount(self._budget, lease.id, self.policy.idle_s)
            try:
                account.open()
            except ProviderError:
                with contextlib.suppress(ProviderError):  # the vendor ends it by its own TTL
                    await self._threads.run(self._client.close, lease)
                raise
            self._accounts[lease.id] = account
        return lease

    def account(self, lease: L) -> SessionAccount | None:
        """The account of an open or lost session; None for any other workload."""
        return self._accounts.get(lease.id)

    def leave(
        self, ran_s: float = 0.0, account: SessionAccount | None = None, *, accepted: bool = True
    ) -> None:
        """Ends a job, or one that was not accepted.

        ran_s: how long it had the QPU, seconds.
        account: its session's account, if that is not the open session.
        """
        if account is None and self._open is not None:
            account = self.account(self._open)
        if account is not None:
            account.jobs_s += ran_s
            account.entered -= not accepted
        self._jobs -= 1
        if self._jobs == 0 and self.policy.mode == "session":
            self._idling = asyncio.ensure_future(self._idle_out())

    async def record_usage(
        self, key: str, usage_s: float | None, estimate_s: float, account: SessionAccount | None = None
    ) -> None:
        """Records a job's final usage; None if unknown, in which case the estimate stays recorded.

        account: its session's account; the session's usage is read too while it is open.
        """
        if account is None:
            self._budget.commit(key, estimate_s)
            self._budget.spend(key, usage_s)
            return
        account.record_job(key, usage_s, estimate_s)
        leases = (self._open, *self._lost, *self._unreported)
        lease = next((lease for lease in leases if lease and lease.id == account.session_id), None)
        if lease is not None:
            with contextlib.suppress(ProviderError):  # the known figure stays until the next job
                account.record_usage(await self._threads.run(self._client.usage_s, lease))

    def drop(self, lease: L) -> None:
        """Drops a session that the service closed; the job that noticed it was not accepted."""
        self._jobs -= 1
        account = self.account(lease)
        if account is not None:
            account.entered -= 1
        if self._open is lease:
            self._open = None
            self._lost.append(lease)

    async def close(self) -> None:
        """Closes the workload; jobs that are running in it still complete."""
        if self._idling is not None:
            self._idling.cancel()
            self._idling = None
        ended, self._open = self._open, None
        lost, self._lost = self._lost, []
        for _ in range(len(self._unreported)):
            self.unreported_sessions -= 1
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
        """Adds the bill of an ended session."""
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
        # Its jobs and the idle time reserved for it stay counted; its usage is read once more later.
        self.unreported_sessions += 1
        if len(self._unreported) == ASKED_AGAIN:
            self._accounts.pop(self._unreported.popleft().id, None)
        self._unreported.append(ended)

    async def _idle_out(self) -> None:
        await asyncio.sleep(self.policy.idle_s)
        self._idling = None
        with contextlib.suppress(ProviderError):  # the vendor ends it by its own TTL
            await self.close()
