"""Determines what jobs cost after they have ended, in the background: no answer waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic

from shotclock.domain.accounting import Charges
from shotclock.providers.client import J, JobMetrics, L
from shotclock.providers.polling import Cadence
from shotclock.providers.submitted_job import SubmittedJob
from shotclock.providers.workload import SharedWorkload

USAGE_LOOKS = 12
LAST_LOOK_S = 2.0
"""Time limit for the usage of jobs that ended just before a close, because the close waits for it."""


class UsageSettlement(Generic[J, L]):
    """Records the usage of every job once it is final, and counts what abandoned jobs cost.

    look: reads the job's present metrics; raises nothing.
    """

    def __init__(
        self,
        workload: SharedWorkload[J, L],
        cadence: Cadence,
        look: Callable[[SubmittedJob[J]], Awaitable[JobMetrics]],
    ) -> None:
        self._workload = workload
        self._cadence = cadence
        self._look = look
        self._settling: dict[asyncio.Task[None], SubmittedJob[J]] = {}
        self._abandoned: dict[str, float | None] = {}
        self._settled = 0
        self._settled_s = 0.0

    def abandon(self, job: SubmittedJob[J]) -> None:
        """The job returns no samples; its usage is counted separately, once."""
        self._abandoned.setdefault(job.job.id, None)

    def deliver(self, job: SubmittedJob[J]) -> None:
        """The job returned samples, whose record contains its usage."""
        self._abandoned.pop(job.job.id, None)

    def start(self, job: SubmittedJob[J]) -> None:
        """Requests the usage of an ended job until it is final, then records it."""
        task = asyncio.ensure_future(self._settle(job))
        self._settling[task] = job
        task.add_done_callback(self._settling.pop)

    async def wait(self) -> None:
        """Waits until the usage of every ended job is known, or the last request for it has failed."""
        while self._settling:
            await asyncio.wait(self._settling)

    async def close(self) -> None:
        """Closes the workload, then requests once more the usage that is not final yet.

        Without an answer the estimate stays recorded. A session's cost is known before that of its last jobs.
        """
        settling = dict(self._settling)
        for task in settling:
            task.cancel()
        if settling:
            await asyncio.wait(settling)
        try:
            await self._workload.close()
        finally:
            await asyncio.gather(*(self._settle_last(job) for job in settling.values()))

    def charges(self) -> Charges:
        """See `Charged`."""
        bills = self._workload.bills
        reported = [usage_s for usage_s in self._abandoned.values() if usage_s is not None]
        return Charges(
            abandoned=len(self._abandoned),
            abandoned_s=sum(reported),
            abandoned_untold=len(self._abandoned) - len(reported),
            sessions=len(bills),
            sessions_s=sum(bill.usage_s for bill in bills),
            sessions_untold=self._workload.unreported_sessions,
            settled=self._settled,
            settled_s=self._settled_s,
        )

    async def _settle(self, job: SubmittedJob[J]) -> None:
        wait_s = self._cadence.usage_s
        for _ in range(USAGE_LOOKS):
            metrics = await self._look(job)
            if metrics.usage_s is not None or not metrics.tells_usage:
                await self._record_usage(job, metrics)
                return
            await asyncio.sleep(wait_s / (metrics.speed or 1.0))
            wait_s *= 2.0
        await self._record_usage(job, JobMetrics())

    async def _settle_last(self, job: SubmittedJob[J]) -> None:
        metrics = JobMetrics()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_LOOK_S):
                metrics = await self._look(job)
        await self._record_usage(job, metrics)

    async def _record_usage(self, job: SubmittedJob[J], metrics: JobMetrics) -> None:
        if metrics.usage_s is not None and job.job.id in self._abandoned:
            self._abandoned[job.job.id] = metrics.usage_s
        elif metrics.usage_s is not None:
            self._settled += 1
            self._settled_s += metrics.usage_s
        usage_s = metrics.usage_s
        if usage_s is None and not metrics.tells_usage:
            # No better figure will come. The estimate counts too, since the running time omits loading.
            usage_s = max(metrics.running_s or 0.0, job.estimate_s)
        await self._workload.record_usage(job.key, usage_s, job.estimate_s, job.account)
