"""The flags of all orchestrators that share a PostgreSQL ledger: one row, which each reads again."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import psycopg
from psycopg import errors

from shotclock.domain.documents import MOST_SETTINGS_BYTES
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.orchestrator.ledger import database
from shotclock.orchestrator.ledger.database import Connection

LIMIT_S = 5.0
"""What a server may take for a statement; one that is suspended would otherwise be waited for."""
_TABLE = """
CREATE TABLE shotclock.flags (
  id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
  document text NOT NULL
)
"""


class LedgerFlags:
    """Implements FlagSource in the ledger's database, by a connection that is opened again when it ends.

    Raises SettingsError on a wrong URL, MachineError where the server does not answer.
    """

    kind = "ledger"
    description = "flags in the ledger"

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self.name = f"flags in {database.describe(url)}"
        with database.translate_errors(url):
            self._connection = self._open()

    def read(self) -> bytes:
        """See `FlagSource.read`."""
        try:
            with self._connect() as connection:
                return self._read(connection, "")
        except psycopg.Error as error:
            raise SettingsError(f"{self.name}: cannot be read: {database.reason(error)}") from error

    def replace(self, edit: Callable[[bytes], str]) -> None:
        """See `FlagSource.replace`."""
        try:
            with self._connect() as connection, database.transact(connection):
                text = edit(self._read(connection, " FOR UPDATE"))
                connection.execute("UPDATE shotclock.flags SET document = %s", (text,))
        except psycopg.Error as error:
            raise MachineError(f"{self.name}: cannot be written: {database.reason(error)}") from error

    def _read(self, connection: Connection, lock: str) -> bytes:
        query = f"SELECT left(document, {MOST_SETTINGS_BYTES + 1}) FROM shotclock.flags{lock}"  # noqa: S608 - ours
        row = connection.execute(query).fetchone()
        content = str(row[0]).encode() if row is not None else b""
        if len(content) > MOST_SETTINGS_BYTES:
            raise SettingsError(f"{self.name}: must be at most {MOST_SETTINGS_BYTES:,} bytes")
        return content

    @contextlib.contextmanager
    def _connect(self) -> Iterator[Connection]:
        """One at a time; the connection is closed where the server failed or took too long."""
        with self._lock:
            connection = self._connection or self._open()
            self._connection = connection
            duplicate = database.duplicate_socket(connection)
            ends = threading.Timer(LIMIT_S, database.shut_down, [duplicate])
            ends.daemon = True
            ends.start()
            try:
                yield connection
            except psycopg.Error:
                connection.close()
                raise
            finally:
                ends.cancel()
                duplicate.close()
                if connection.closed:
                    self._connection = None

    def _open(self) -> Connection:
        connection = database.open_to_write(self._url, "shotclock-flags")
        try:
            _create(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Closes the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _create(connection: Connection) -> None:
    ((table,),) = connection.execute("SELECT to_regclass('shotclock.flags')").fetchall()
    if table is None:
        # Another orchestrator may be creating it.
        with contextlib.suppress(errors.DuplicateTable, errors.UniqueViolation):
            connection.execute(_TABLE)
    connection.execute(
        """INSERT INTO shotclock.flags (document) VALUES ('{"flags": {}}') ON CONFLICT DO NOTHING"""
    )
