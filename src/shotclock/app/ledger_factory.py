"""Opens the ledger of paid jobs: one per process, when the first paid provider needs it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from shotclock.domain.errors import MachineError, ShotclockError
from shotclock.domain.ledger import JobRecord, LedgerError, LedgerState
from shotclock.domain.ports import Provider
from shotclock.orchestrator.ledger.file import count_jobs, ledger_path, read_longest_parked
from shotclock.orchestrator.ledger.job_journal import FreeJobs, JobJournal, PaidJobs, no_report
from shotclock.orchestrator.ledger.parked import review_parked
from shotclock.orchestrator.ledger.recovery import LIST_GRACE_S, Recovered, collect_left, recover
from shotclock.orchestrator.ledger.sqlite import SqliteLedger

COUNT_EVERY_S = 10.0
"""Counting reads the whole file."""
REVIEW_EVERY_S = 60.0
"""Each parked job takes a request, which vendors limit."""

MOST_PARKED = 10
"""As many parked jobs are named on the status page."""


class LedgerFactory:
    """Makes a journal in one ledger file for each paid provider.

    file: a path or sqlite:///path.
    on_trouble: called with what needs attention.
    """

    def __init__(self, file: str, on_trouble: Callable[[str], None] = no_report) -> None:
        self._file = file
        self._on_trouble = on_trouble
        self._ledger: SqliteLedger | None = None
        self.rows: Mapping[LedgerState, int] = {}
        self.parked: tuple[JobRecord, ...] = ()

    def of(self, provider: Provider) -> JobJournal:
        """The provider's journal. Raises SettingsError or MachineError if the ledger cannot be opened."""
        if not provider.limits.paid:
            return FreeJobs()
        if self._ledger is None:
            path = ledger_path(self._file)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise MachineError(
                    f"serve.ledger: {path.parent} cannot be created: {error.strerror}"
                ) from error
            self._ledger = SqliteLedger(path, time.time)
        return PaidJobs(self._ledger, provider.name, self._on_trouble)

    def rows_by_name(self) -> dict[str, int]:
        """The records by the name of their state, as last counted."""
        return {str(state): count for state, count in self.rows.items()}

    async def count_rows(self) -> None:
        """Keeps `rows`, the records by state, and some of the parked ones, until it is cancelled.

        Both are empty while they cannot be read.
        """
        path = ledger_path(self._file) if self._ledger is not None else Path()
        while self._ledger is not None:
            try:
                self.rows = await asyncio.to_thread(count_jobs, path)
                self.parked = await asyncio.to_thread(read_longest_parked, path, MOST_PARKED)
            except ShotclockError:  # the journal reports a ledger that stopped
                self.rows, self.parked = {}, ()
            await asyncio.sleep(COUNT_EVERY_S)

    async def recover(self, provider: Provider) -> Recovered:
        """Recovers what a stop left open, as far as possible at once; before any call is accepted."""
        if self._ledger is None or not provider.limits.paid:
            return Recovered()
        return await recover(self._ledger, provider, grace_s=LIST_GRACE_S)

    async def collect(self, provider: Provider, submitted: tuple[JobRecord, ...]) -> None:
        """Collects jobs that no caller waits for; runs while calls are served."""
        if self._ledger is None or not submitted:
            return
        try:
            await collect_left(self._ledger, provider, submitted)
        except LedgerError as error:
            self._on_trouble(f"jobs that no caller waits for are left for the next start: {error}")

    async def review_parked(self, provider: Provider, grace_s: float) -> None:
        """Searches again and again for the parked jobs, until it is cancelled; see `review_parked`."""
        if self._ledger is None or not provider.limits.paid:
            return
        every_s = max(1.0, min(REVIEW_EVERY_S, grace_s / 2))
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    adopted = await review_parked(self._ledger, provider, time.time, grace_s=grace_s)
                except LedgerError as error:
                    self._on_trouble(f"parked jobs are searched for again at the next start: {error}")
                    return
                group.create_task(self.collect(provider, adopted))
                await asyncio.sleep(every_s)

    def close(self) -> None:
        """Closes the ledger, if it was opened."""
        if self._ledger is not None:
            self._ledger.close()
