"""A ledger that ends with its process."""

from __future__ import annotations

from collections.abc import Callable

from shotclock.domain.accounting import JobUsage
from shotclock.domain.ledger import JobRecord, LedgerState
from shotclock.orchestrator.ledger.accounts import (
    MemoryAccounts,
    open_account,
    release_unsubmitted,
    settle_account,
)
from shotclock.orchestrator.ledger.limits import UNLIMITED, SharedLimits
from shotclock.orchestrator.ledger.transitions import (
    Transition,
    begin,
    explain_taken_tag,
    explain_unknown_tag,
    move,
)


class MemoryLedger:
    """A Ledger that ends with its process, for simulation and tests. `history` is its audit trail."""

    def __init__(self, now_unix_s: Callable[[], float]) -> None:
        self.history: list[Transition] = []
        self._now_unix_s = now_unix_s
        self._records: dict[str, JobRecord] = {}
        self._limits: dict[str, SharedLimits] = {}
        self.accounts = MemoryAccounts()

    def limit(self, provider: str, limits: SharedLimits) -> None:
        """What may be spent with the provider; nobody else uses its lanes and its rate."""
        self._limits[provider] = limits

    async def intend(self, record: JobRecord) -> None:
        """See `Ledger.intend`."""
        begins = begin(record, self._now_unix_s())
        if record.tag in self._records:
            raise explain_taken_tag(record.tag)
        rules = self._limits.get(record.provider, UNLIMITED).money
        open_account(self.accounts, begins, rules, begins.changed_unix_s)
        self._write(begins, begins)

    async def move(self, tag: str, state: LedgerState, *, job_id: str = "", note: str = "") -> None:
        """See `Ledger.move`."""
        if tag not in self._records:
            raise explain_unknown_tag(tag)
        before = self._records[tag]
        after = move(before, state, job_id, note, self._now_unix_s())
        self._write(before, after)
        release_unsubmitted(self.accounts, after, after.changed_unix_s)

    async def charge(self, tag: str, usage: JobUsage) -> None:
        """See `Ledger.charge`."""
        settle_account(self.accounts, tag, usage, self._now_unix_s())

    async def jobs(self, *states: LedgerState) -> tuple[JobRecord, ...]:
        """See `Ledger.jobs`."""
        return tuple(record for record in self._records.values() if not states or record.state in states)

    def _write(self, before: JobRecord, after: JobRecord) -> None:
        self._records.pop(after.tag, None)  # so that the dict stays ordered by the latest change
        self._records[after.tag] = after
        self.history.append(
            Transition(after.tag, before.state, after.state, after.job_id, after.note, after.changed_unix_s)
        )
