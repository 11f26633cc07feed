"""Where a ledger is: a file, or a PostgreSQL database. What people and the status page read of either."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from shotclock.domain.accounting import AccountEntry, Spending
from shotclock.domain.errors import MachineError
from shotclock.domain.ledger import JobRecord, LedgerState
from shotclock.domain.ports import FlagSource, Ledger
from shotclock.orchestrator.ledger import file as ledger_file
from shotclock.orchestrator.ledger.limits import SharedLimits
from shotclock.orchestrator.ledger.sqlite import SqliteLedger
from shotclock.orchestrator.ledger.transitions import Transition

POSTGRES = ("postgresql:", "postgres:")


class LedgerPlace(Protocol):
    """A ledger that others may be writing. name: for people, without a password.

    Every method raises SettingsError and MachineError.
    """

    name: str

    def read_jobs(self, *states: LedgerState) -> tuple[JobRecord, ...]:
        """The records in these states, all if none is given; the oldest change first."""

    def read_history(self, tag: str) -> tuple[Transition, ...]:
        """A record's transitions, the oldest first."""

    def count_jobs(self) -> dict[LedgerState, int]:
        """How many records are in each state."""

    def read_longest_parked(self, most: int) -> tuple[JobRecord, ...]:
        """As many parked records as allowed, the longest-parked first."""

    def read_xmin_age(self) -> int | None:
        """How many transactions old the oldest one is that is still open; None of a file."""

    def read_accounts(self, since_unix_s: float, until_unix_s: float) -> list[AccountEntry]:
        """The accounts of the jobs intended from one instant to before the other, the oldest first."""

    def read_spending(self, provider: str) -> list[Spending]:
        """What was spent with the provider, known and reserved, by budget, caller and day."""

    def settle(self, tags: Sequence[str], state: LedgerState, job_id: str, note: str) -> None:
        """Moves parked jobs for a person. Raises LedgerError too."""


class SharedLedger(Ledger, Protocol):
    """A Ledger that several orchestrators write; this one's jobs are those under its lease."""

    def limit(self, provider: str, limits: SharedLimits) -> None:
        """What all orchestrators together may have with the provider, for the intents of this one."""

    async def wait_for_lane(self, provider: str) -> None:
        """Returns when a lane of the provider seems free."""

    async def adopt(self, provider: str) -> tuple[JobRecord, ...]:
        """Takes over the provider's open jobs of orchestrators whose lease ran out or was given up."""

    async def read_owned(self, provider: str) -> tuple[JobRecord, ...]:
        """The provider's open jobs that are this one's."""

    def close(self) -> None:
        """Completes the queued writes, and gives the lease up."""


class FilePlace:
    """A ledger in a file, which one orchestrator at a time writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    def read_jobs(self, *states: LedgerState) -> tuple[JobRecord, ...]:
        """See `LedgerPlace.read_jobs`."""
        with ledger_file.open_to_read(self.path) as connection:
            return ledger_file.read_jobs(connection, *states)

    def read_history(self, tag: str) -> tuple[Transition, ...]:
        """See `LedgerPlace.read_history`."""
        with ledger_file.open_to_read(self.path) as connection:
            return ledger_file.read_history(connection, tag)

    def count_jobs(self) -> dict[LedgerState, int]:
        """See `LedgerPlace.count_jobs`."""
        return ledger_file.count_jobs(self.path)

    def read_longest_parked(self, most: int) -> tuple[JobRecord, ...]:
        """See `LedgerPlace.read_longest_parked`."""
        return ledger_file.read_longest_parked(self.path, most)

    def read_xmin_age(self) -> int | None:
        """See `LedgerPlace.read_xmin_age`."""
        return None

    def read_accounts(self, since_unix_s: float, until_unix_s: float) -> list[AccountEntry]:
        """See `LedgerPlace.read_accounts`."""
        return ledger_file.read_accounts(self.path, since_unix_s, until_unix_s)

    def read_spending(self, provider: str) -> list[Spending]:
        """See `LedgerPlace.read_spending`."""
        return ledger_file.read_spending(self.path, provider)

    def settle(self, tags: Sequence[str], state: LedgerState, job_id: str, note: str) -> None:
        """See `LedgerPlace.settle`; while no orchestrator holds the file."""

        async def move_all() -> None:
            for tag in tags:
                await ledger.move(tag, state, job_id=job_id, note=note)

        with contextlib.closing(SqliteLedger(self.path, time.time)) as ledger:
            asyncio.run(move_all())


def find_place(where: str) -> LedgerPlace:
    """The ledger named by a path or a URL.

    Raises SettingsError on what names none, MachineError where the driver of its database is not installed.
    """
    if not is_shared(where):
        return FilePlace(ledger_file.ledger_path(where))
    with _explain_missing():
        from shotclock.orchestrator.ledger.postgres_place import PostgresPlace  # noqa: PLC0415 - an extra
    return PostgresPlace(where)


def is_shared(where: str) -> bool:
    """Whether several orchestrators may write the ledger: it is a PostgreSQL database."""
    return where.startswith(POSTGRES)


def open_shared(where: str, now_unix_s: Callable[[], float], term_s: float) -> SharedLedger:
    """The ledger in a PostgreSQL database, with a lease of so many seconds. Raises as `find_place`."""
    with _explain_missing():
        from shotclock.orchestrator.ledger.postgres import PostgresLedger  # noqa: PLC0415 - an extra
    return PostgresLedger(where, now_unix_s, term_s=term_s)


def open_shared_flags(where: str) -> FlagSource:
    """The flags in a PostgreSQL ledger. Raises as `find_place`, and MachineError if it does not answer."""
    with _explain_missing():
        from shotclock.orchestrator.ledger.ledger_flags import LedgerFlags  # noqa: PLC0415 - an extra
    return LedgerFlags(where)


@contextlib.contextmanager
def _explain_missing() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise MachineError(
            f"serve.ledger: a PostgreSQL ledger needs the package {error.name or 'psycopg'!r}: "
            f"install shotclock[postgres]"
        ) from error
