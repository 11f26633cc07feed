"""A part of a shared ledger: what a replica may recover, review or collect is what it owns."""

from __future__ import annotations

from collections.abc import Collection

from shotclock.domain.accounting import JobUsage
from shotclock.domain.ledger import JobRecord, LedgerState
from shotclock.domain.ports import Ledger


class SelectedJobs:
    """A Ledger that shows the records with these tags alone."""

    def __init__(self, ledger: Ledger, tags: Collection[str]) -> None:
        self._ledger = ledger
        self._tags = frozenset(tags)

    async def intend(self, record: JobRecord) -> None:
        """See `Ledger.intend`."""
        await self._ledger.intend(record)

    async def move(self, tag: str, state: LedgerState, *, job_id: str = "", note: str = "") -> None:
        """See `Ledger.move`."""
        await self._ledger.move(tag, state, job_id=job_id, note=note)

    async def charge(self, tag: str, usage: JobUsage) -> None:
        """See `Ledger.charge`."""
        await self._ledger.charge(tag, usage)

    async def jobs(self, *states: LedgerState) -> tuple[JobRecord, ...]:
        """See `Ledger.jobs`."""
        if not self._tags:
            return ()
        return tuple(job for job in await self._ledger.jobs(*states) if job.tag in self._tags)
