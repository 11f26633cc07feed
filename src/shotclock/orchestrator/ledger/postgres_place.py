"""A ledger in PostgreSQL, as people and the status page read it: a connection for each question."""

from __future__ import annotations

import time
from collections.abc import Sequence

from shotclock.domain.accounting import AccountEntry, Spending
from shotclock.domain.ledger import JobRecord, LedgerState
from shotclock.orchestrator.ledger import database, shared
from shotclock.orchestrator.ledger.shared import NO_EPOCH
from shotclock.orchestrator.ledger.transitions import Transition


class PostgresPlace:
    """Implements LedgerPlace. Raises SettingsError on a URL that is not valid or holds a password."""

    def __init__(self, url: str) -> None:
        self.name = database.describe(url)
        self._url = url

    def read_jobs(self, *states: LedgerState) -> tuple[JobRecord, ...]:
        """See `LedgerPlace.read_jobs`."""
        with database.open_to_read(self._url) as connection:
            return database.read_jobs(connection, *states)

    def read_history(self, tag: str) -> tuple[Transition, ...]:
        """See `LedgerPlace.read_history`."""
        with database.open_to_read(self._url) as connection:
            return database.read_history(connection, tag)

    def count_jobs(self) -> dict[LedgerState, int]:
        """See `LedgerPlace.count_jobs`."""
        with database.open_to_read(self._url) as connection:
            return database.count_jobs(connection)

    def read_longest_parked(self, most: int) -> tuple[JobRecord, ...]:
        """See `LedgerPlace.read_longest_parked`."""
        with database.open_to_read(self._url) as connection:
            return database.read_longest_parked(connection, most)

    def read_xmin_age(self) -> int | None:
        """See `LedgerPlace.read_xmin_age`; of all databases of the server, replication included."""
        with database.open_to_read(self._url) as connection:
            ((age,),) = connection.execute(
                "SELECT greatest((SELECT max(age(backend_xmin)) FROM pg_stat_activity), "
                "(SELECT max(age(xmin)) FROM pg_replication_slots))"
            ).fetchall()
        return None if age is None else int(age)

    def read_accounts(self, since_unix_s: float, until_unix_s: float) -> list[AccountEntry]:
        """See `LedgerPlace.read_accounts`."""
        with database.open_to_read(self._url) as connection:
            return database.open_accounts(connection).read_all(since_unix_s, until_unix_s)

    def read_spending(self, provider: str) -> list[Spending]:
        """See `LedgerPlace.read_spending`."""
        with database.open_to_read(self._url) as connection:
            return database.open_accounts(connection).read_spending(provider)

    def settle(self, tags: Sequence[str], state: LedgerState, job_id: str, note: str) -> None:
        """See `LedgerPlace.settle`; all or none, and while orchestrators run: one collects the job."""
        with database.open_to_read(self._url) as connection, database.transact(connection):
            for tag in tags:
                shared.write_move(
                    connection,
                    tag,
                    state,
                    job_id=job_id,
                    note=note,
                    epoch=NO_EPOCH,
                    now_unix_s=time.time(),
                )
