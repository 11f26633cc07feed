"""Opens the ledger of paid jobs: one per process, when the first paid provider needs it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from shotclock.app.spending import SpendingWatch
from shotclock.domain.accounting import FREE_OF_RULES, JobUsage, MoneyRules
from shotclock.domain.errors import MachineError, ShotclockError
from shotclock.domain.ledger import JobRecord, LedgerError, LedgerState
from shotclock.domain.ports import Budgeted, Ledger, Provider
from shotclock.orchestrator.ledger.file import ledger_path
from shotclock.orchestrator.ledger.job_journal import FreeJobs, JobJournal, PaidJobs, no_report
from shotclock.orchestrator.ledger.limits import SharedLimits
from shotclock.orchestrator.ledger.parked import review_parked
from shotclock.orchestrator.ledger.places import SharedLedger, find_place, is_shared, open_shared
from shotclock.orchestrator.ledger.recovery import LIST_GRACE_S, Recovered, collect_left, recover
from shotclock.orchestrator.ledger.selected import SelectedJobs
from shotclock.orchestrator.ledger.sqlite import SqliteLedger
from shotclock.orchestrator.ledger.transitions import AdoptedError

log = logging.getLogger(__name__)

ADOPTIONS = 4
"""Searches for jobs to adopt, a lease."""
PARKED_LANE_S = 60.0
"""How long a parked job, of which nobody knows whether it runs, keeps its lane."""

COUNT_EVERY_S = 10.0
"""Counting reads the whole file."""
REVIEW_EVERY_S = 60.0
"""Each parked job takes a request, which vendors limit."""

MOST_PARKED = 10
"""As many parked jobs are named on the status page."""


class LedgerFactory:
    """Makes a journal in one ledger for each paid provider.

    where: a path, sqlite:///path or postgresql://….
    on_trouble: called with what needs attention.
    lease_s: see `ServeSettings`.
    parked_grace_s: see `ServeSettings`.
    """

    def __init__(
        self,
        where: str,
        on_trouble: Callable[[str], None] = no_report,
        *,
        lease_s: float = 10.0,
        parked_grace_s: float = 0.0,
    ) -> None:
        self._where = where
        self._on_trouble = on_trouble
        self._lease_s = lease_s
        self._parked_grace_s = parked_grace_s
        self._ledger: SqliteLedger | SharedLedger | None = None
        self._shared: SharedLedger | None = None
        self.rows: Mapping[LedgerState, int] = {}
        self.parked: tuple[JobRecord, ...] = ()
        self.xmin_age: int | None = None

    def of(self, provider: Provider, rules: MoneyRules = FREE_OF_RULES) -> JobJournal:
        """The provider's journal. rules: what may be spent with it.

        Raises SettingsError or MachineError if the ledger cannot be opened.
        """
        limits = provider.limits
        if not limits.paid:
            return FreeJobs()
        if self._ledger is None:
            self._ledger = self._open()
        parked_s = min(self._parked_grace_s, PARKED_LANE_S)
        self._ledger.limit(
            provider.name, SharedLimits(limits.lanes, limits.submissions_per_minute, parked_s, rules)
        )
        journal = PaidJobs(self._ledger, provider.name, self._on_trouble, self._shared)
        if isinstance(provider, Budgeted):
            provider.on_usage(lambda tag, used_s: journal.charge(tag, JobUsage(used_s)))
        return journal

    def watch_spending(self, provider: Provider, rules: MoneyRules) -> SpendingWatch | None:
        """What is spent with the provider, to be kept current; None where nothing is paid for."""
        if self._ledger is None or not provider.limits.paid:
            return None
        return SpendingWatch(find_place(self._where), provider.name, rules)

    def _open(self) -> SqliteLedger | SharedLedger:
        if is_shared(self._where):
            self._shared = open_shared(self._where, time.time, self._lease_s)
            return self._shared
        path = ledger_path(self._where)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MachineError(f"serve.ledger: {path.parent} cannot be created: {error.strerror}") from error
        return SqliteLedger(path, time.time)

    def rows_by_name(self) -> dict[str, int]:
        """The records by the name of their state, as last counted."""
        return {str(state): count for state, count in self.rows.items()}

    async def count_rows(self) -> None:
        """Keeps `rows`, the records by state, some of the parked ones, and `xmin_age`, until it is cancelled.

        They are empty, and None, while they cannot be read.
        """
        if self._ledger is None:
            return
        place = find_place(self._where)
        while True:
            try:
                self.rows = await asyncio.to_thread(place.count_jobs)
                self.parked = await asyncio.to_thread(place.read_longest_parked, MOST_PARKED)
                self.xmin_age = await asyncio.to_thread(place.read_xmin_age)
            except ShotclockError:  # the journal reports a ledger that stopped
                self.rows, self.parked, self.xmin_age = {}, (), None
            await asyncio.sleep(COUNT_EVERY_S)

    async def recover(self, provider: Provider) -> Recovered:
        """Recovers what a stop left open, as far as possible at once; before any call is accepted."""
        if self._ledger is None or not provider.limits.paid:
            return Recovered()
        if self._shared is None:
            return await recover(self._ledger, provider, grace_s=LIST_GRACE_S)
        adopted = await self._shared.adopt(provider.name)
        return await recover(_select(self._shared, adopted), provider, grace_s=LIST_GRACE_S)

    async def collect(self, provider: Provider, submitted: tuple[JobRecord, ...]) -> None:
        """Collects jobs that no caller waits for; runs while calls are served."""
        if self._ledger is None or not submitted:
            return
        if self._shared is not None:
            await self._take_over(self._shared, provider, submitted)
            return
        try:
            await collect_left(self._ledger, provider, submitted)
        except LedgerError as error:
            self._on_trouble(f"jobs that no caller waits for are left for the next start: {error}")

    async def adopt(self, provider: Provider) -> None:
        """Adopts the jobs of orchestrators that have ended, again and again until it is cancelled."""
        shared = self._shared
        if shared is None or not provider.limits.paid:
            return
        async with asyncio.TaskGroup() as group:
            while True:
                await asyncio.sleep(self._lease_s / ADOPTIONS)
                with suppress(LedgerError):  # the server does not answer, or the lease ran out
                    adopted = await shared.adopt(provider.name)
                    if adopted:
                        log.info("adopted %d open jobs of an orchestrator that has ended", len(adopted))
                        group.create_task(self._take_over(shared, provider, adopted))

    async def _take_over(
        self, shared: SharedLedger, provider: Provider, adopted: tuple[JobRecord, ...]
    ) -> None:
        """Closes the records of adopted jobs; after a fault of the database again."""
        while True:
            try:
                recovered = await recover(_select(shared, adopted), provider, grace_s=LIST_GRACE_S)
                await collect_left(shared, provider, recovered.submitted)
            except AdoptedError:  # the lease ran out, so that they are to be adopted again
                return
            except LedgerError:
                await asyncio.sleep(self._lease_s)
            else:
                return

    async def review_parked(self, provider: Provider, grace_s: float) -> None:
        """Searches again and again for the parked jobs, until it is cancelled; see `review_parked`."""
        if self._ledger is None or not provider.limits.paid:
            return
        every_s = max(1.0, min(REVIEW_EVERY_S, grace_s / 2))
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    parked = await self._select_reviewable(self._ledger, provider)
                    adopted = await review_parked(parked, provider, time.time, grace_s=grace_s)
                except LedgerError as error:
                    if self._shared is None:
                        # the journal reports that the ledger has stopped, once
                        log.debug("parked jobs are searched for again at the next start: %s", error)
                        return
                else:
                    group.create_task(self.collect(provider, adopted))
                await asyncio.sleep(every_s)

    async def _select_reviewable(self, ledger: Ledger, provider: Provider) -> Ledger:
        """The ledger, or the part of it that is this orchestrator's to review."""
        if self._shared is None:
            return ledger
        return _select(self._shared, await self._shared.read_owned(provider.name))

    def close(self) -> None:
        """Closes the ledger, if it was opened."""
        if self._ledger is not None:
            self._ledger.close()


def _select(ledger: Ledger, records: Iterable[JobRecord]) -> SelectedJobs:
    return SelectedJobs(ledger, [record.tag for record in records])
