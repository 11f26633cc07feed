"""Where paid jobs are written down: one ledger a process, opened when the first paid provider needs it."""

from __future__ import annotations

import time
from collections.abc import Callable

from shotclock.domain.errors import MachineError
from shotclock.domain.ledger import LedgerError
from shotclock.domain.ports import Provider
from shotclock.orchestrator.ledger.file import ledger_path
from shotclock.orchestrator.ledger.job_journal import FreeJobs, JobJournal, PaidJobs, no_report
from shotclock.orchestrator.ledger.recovery import LIST_GRACE_S, Recovered, collect_left, recover
from shotclock.orchestrator.ledger.sqlite import SqliteLedger


class LedgerFactory:
    """The ledger file, and a book of it for each paid provider.

    file: a path or sqlite:///path; on_trouble: called with what needs attention.
    """

    def __init__(self, file: str, on_trouble: Callable[[str], None] = no_report) -> None:
        self._file = file
        self._on_trouble = on_trouble
        self._ledger: SqliteLedger | None = None

    def of(self, provider: Provider) -> JobJournal:
        """The provider's book. Raises SettingsError and MachineError where the ledger cannot be opened."""
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

    async def recover(self, provider: Provider) -> Recovered:
        """What a stop left open, settled as far as it can be at once; before any call is accepted."""
        if self._ledger is None or not provider.limits.paid:
            return Recovered()
        return await recover(self._ledger, provider, grace_s=LIST_GRACE_S)

    async def collect(self, provider: Provider, recovered: Recovered) -> None:
        """Collects what is still with the provider; to be run beside the calls."""
        if self._ledger is None or not recovered.submitted:
            return
        try:
            await collect_left(self._ledger, provider, recovered.submitted)
        except LedgerError as error:
            self._on_trouble(f"jobs from before the stop are left for the next start: {error}")

    def close(self) -> None:
        """Closes the ledger, if it was opened."""
        if self._ledger is not None:
            self._ledger.close()
