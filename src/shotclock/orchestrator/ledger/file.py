"""The ledger's SQLite file: the writer's lock, the checks on opening, and the rows.

Two tables, written in one transaction: `jobs` has a row per record, `history` a row per transition.
`jobs.move` is the number of the record's latest transition. Neither has a secondary index, so a transition
writes and syncs one page of each. `accounts`, `spending` and `repeats` are new in schema 2: a writer adds
them to an older file, a reader of one finds no accounts.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import apsw

from shotclock.domain import documents, encoding
from shotclock.domain.accounting import AccountEntry, Spending
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.domain.ledger import JobRecord, LedgerState
from shotclock.orchestrator.ledger.account_rows import SqlAccounts
from shotclock.orchestrator.ledger.transitions import Transition

APPLICATION_ID = int.from_bytes(b"SCLK")
SCHEMA = 2
FARTHEST_UNIX_S = 62_135_596_800.0
"""From 1970, either way: the years 1 to 3939, which can be shown as a date."""
BUSY_TIMEOUT_MS = 2_000
"""How long to wait for another process's lock: an sqlite3 shell, or a reader recovering the WAL."""

_STATES = ", ".join(f"'{state}'" for state in LedgerState)
_TABLES = (
    f"""CREATE TABLE history (
  move INTEGER PRIMARY KEY,
  tag TEXT NOT NULL,
  before TEXT NOT NULL CHECK (before IN ({_STATES})),
  after TEXT NOT NULL CHECK (after IN ({_STATES})),
  job_id TEXT NOT NULL,
  note TEXT NOT NULL,
  at_unix_s REAL NOT NULL
) STRICT""",
    f"""CREATE TABLE jobs (
  tag TEXT PRIMARY KEY,
  provider TEXT NOT NULL,
  requests TEXT NOT NULL CHECK (json_type(requests) = 'array'),
  shots INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ({_STATES})),
  job_id TEXT NOT NULL,
  note TEXT NOT NULL,
  changed_unix_s REAL NOT NULL,
  move INTEGER NOT NULL
) STRICT, WITHOUT ROWID""",
)
_MONEY_TABLES = (
    """CREATE TABLE accounts (
  tag TEXT PRIMARY KEY,
  provider TEXT NOT NULL,
  budget TEXT NOT NULL,
  resource TEXT NOT NULL,
  calls TEXT NOT NULL CHECK (json_type(calls) = 'array'),
  estimate_s REAL,
  price_per_s REAL NOT NULL,
  currency TEXT NOT NULL,
  intended_unix_s REAL NOT NULL,
  used_s REAL,
  began_unix_s REAL,
  ended_unix_s REAL
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE spending (
  provider TEXT NOT NULL,
  budget TEXT NOT NULL,
  caller TEXT NOT NULL,
  day TEXT NOT NULL,
  seconds REAL NOT NULL,
  money REAL NOT NULL,
  PRIMARY KEY (provider, budget, caller, day)
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE repeats (
  caller TEXT NOT NULL,
  request_id TEXT NOT NULL,
  at_unix_s REAL NOT NULL,
  PRIMARY KEY (caller, request_id)
) STRICT, WITHOUT ROWID""",
)
_TABLES_OF = {1: _TABLES, 2: (_MONEY_TABLES[0], *_TABLES, _MONEY_TABLES[2], _MONEY_TABLES[1])}
"""The tables of each schema, by name."""
_JOBS = "SELECT tag, provider, requests, shots, state, job_id, note, changed_unix_s FROM jobs"


def ledger_path(where: str) -> Path:
    """The file named by a path or by `sqlite:///absolute/path`.

    Raises SettingsError on another URL, and on "auto": see `ServeSettings.ledger_file`.
    """
    if where == "auto":
        raise SettingsError(
            "serve.ledger: this user has no home folder for it; name a file, or set XDG_STATE_HOME"
        )
    if "://" not in where:
        path = where
    else:
        url = urlsplit(where)
        path = url.path if url.scheme == "sqlite" and not url.netloc else ""
    if not path:
        raise SettingsError(
            f"ledger: must be a path, sqlite:///absolute/path or postgresql://… (got {where!r})"
        )
    return Path(path).resolve()


def check_sqlite(version: str) -> None:
    """Raises MachineError on an SQLite version whose WAL reset may corrupt the file (sqlite.org/wal.html)."""
    if (3, 7, 0) <= tuple(int(part) for part in version.split(".")[:3]) <= (3, 51, 2):
        raise MachineError(
            f"SQLite {version} can corrupt a ledger (WAL-reset bug, 3.7.0 to 3.51.2): install apsw>=3.51.3"
        )


@contextlib.contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Holds the ledger's write lock, an OS lock on `<path>.lock` that ends with the process.

    SQLite's own locks would block readers too. Raises MachineError if another process, or this one, holds it.
    """
    lock = Path(f"{path}.lock")
    try:
        file = open(lock, "ab+", buffering=0, opener=_open_no_link)  # noqa: SIM115 - closed below
    except OSError as error:
        raise MachineError(
            f"cannot write {lock}: {error.strerror}; the ledger's folder must exist and be writable"
        ) from error
    with file:
        # A forked child would keep the lock after the parent has ended.
        os.register_at_fork(after_in_child=file.close)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read(20).decode("ascii", "replace").strip() or "unknown"
            raise MachineError(
                f"another orchestrator holds {path} (process {holder}): stop it first, or name another ledger"
            ) from error
        file.truncate(0)
        with contextlib.suppress(OSError):  # only informative; a full disk fails the ledger itself soon
            file.write(f"{os.getpid()}\n".encode())
        try:
            yield
        finally:
            # Closing alone would leave the lock with a forked child that has not run its handler yet.
            fcntl.flock(file, fcntl.LOCK_UN)


def _open_no_link(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NOFOLLOW, 0o666)


@contextlib.contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Translates SQLite's errors about the file into one-line errors."""
    try:
        yield
    except apsw.NotADBError as error:
        raise _foreign(path) from error
    except (apsw.CorruptError, ValueError) as error:
        raise _explain_damage(path, documents.describe_reason(error)) from error
    except apsw.Error as error:
        raise MachineError(f"cannot use the ledger {path}: {documents.describe_reason(error)}") from error


def open_to_write(path: Path, vfs: str) -> apsw.Connection:
    """The checked ledger, created if it does not exist; WAL mode, every commit synced.

    Raises SettingsError on a file that is not a ledger, MachineError on one that is damaged, of another
    schema, or not writable.
    """
    _forget_cached(path)
    with translate_errors(path):
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
        connection = apsw.Connection(encoding.sqlite_name(path), flags=flags, vfs=vfs)
        try:
            if connection.readonly("main"):
                raise MachineError(
                    f"the ledger {path} is not writable by this user: change its owner or mode"
                )
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            fresh = _is_empty(connection)
            schema = SCHEMA if fresh else _identify(connection, path)
            mode = connection.pragma("journal_mode", "wal")
            if mode != "wal":
                raise MachineError(
                    f"the ledger {path} cannot use WAL mode here (got {mode}): put it on a local file system"
                )
            connection.pragma("synchronous", "full")
            if fresh:
                _create(connection)
            elif (damage := connection.pragma("quick_check", 1)) != "ok":
                raise _explain_damage(path, str(damage))
            if schema < SCHEMA:
                _add_accounts(connection)
        except BaseException:
            connection.close()
            raise
    return connection


@contextlib.contextmanager
def open_to_read(path: Path) -> Iterator[apsw.Connection]:
    """A read-only ledger, usable while an orchestrator writes it.

    Raises as `open_to_write` does, and SettingsError if the file does not exist.
    """
    if not path.is_file():
        raise SettingsError(f"no ledger at {path}: name another file")
    with (
        translate_errors(path),
        contextlib.closing(
            apsw.Connection(
                encoding.sqlite_name(path), flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
            )
        ) as connection,
    ):
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        _identify(connection, path)
        yield connection


def read_jobs(connection: apsw.Connection, *states: LedgerState) -> tuple[JobRecord, ...]:
    """The records in these states, all if none is given; the oldest change first."""
    selected = states or tuple(LedgerState)
    marks = ", ".join("?" * len(selected))
    rows = connection.execute(f"{_JOBS} WHERE state IN ({marks}) ORDER BY move", selected)
    return tuple(_record(*row) for row in rows)


def count_jobs(path: Path) -> dict[LedgerState, int]:
    """How many records are in each state; raises as `open_to_read` does."""
    with open_to_read(path) as connection:
        counts = dict(connection.execute("SELECT state, count(*) FROM jobs GROUP BY state"))
    return {state: counts.get(state, 0) for state in LedgerState}


def read_longest_parked(path: Path, most: int) -> tuple[JobRecord, ...]:
    """As many parked records as allowed, the longest-parked first; raises as `open_to_read` does."""
    with open_to_read(path) as connection:
        rows = connection.execute(
            f"{_JOBS} WHERE state = ? ORDER BY move LIMIT ?", (LedgerState.PARKED, most)
        )
        return tuple(_record(*row) for row in rows)


def read_job(connection: apsw.Connection, tag: str) -> tuple[JobRecord, ...]:
    """The record of this tag, or nothing."""
    if not tag.isprintable():  # no record has such a tag, and SQLite may be unable to search for it
        return ()
    return tuple(_record(*row) for row in connection.execute(f"{_JOBS} WHERE tag = ?", (tag,)))


def read_history(connection: apsw.Connection, tag: str) -> tuple[Transition, ...]:
    """A record's transitions, the oldest first."""
    rows = connection.execute(
        "SELECT before, after, job_id, note, at_unix_s FROM history WHERE tag = ? ORDER BY move", (tag,)
    )
    return tuple(_transition(tag, *row) for row in rows)


def _transition(tag: str, *row: Any) -> Transition:
    _check_row(row, (str, str, str, str, float))
    before, after, job_id, note, at_unix_s = row
    return Transition(tag, LedgerState(before), LedgerState(after), job_id, note, at_unix_s)


def write(connection: apsw.Connection, before: LedgerState, after: JobRecord) -> None:
    """Stores a record's new state, and the transition in the history."""
    connection.execute(
        "INSERT INTO history (tag, before, after, job_id, note, at_unix_s) VALUES (?, ?, ?, ?, ?, ?)",
        (after.tag, before, after.state, after.job_id, after.note, after.changed_unix_s),
    )
    connection.execute(
        "REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            after.tag,
            after.provider,
            json.dumps(after.requests),
            after.shots,
            after.state,
            after.job_id,
            after.note,
            after.changed_unix_s,
            connection.last_insert_rowid(),
        ),
    )


def _record(*row: Any) -> JobRecord:
    """ValueError on values that the tables do not allow."""
    _check_row(row, (str, str, str, int, str, str, str, float))
    tag, provider, requests, shots, state, job_id, note, changed_unix_s = row
    return JobRecord(tag, provider, _texts(requests), shots, LedgerState(state), job_id, note, changed_unix_s)


def _check_row(row: tuple[Any, ...], types: tuple[type, ...]) -> None:
    """The last value is an instant. SQLite checks values when it writes them, not when it reads them."""
    if tuple(map(type, row)) != types or not abs(row[-1]) <= FARTHEST_UNIX_S:
        raise ValueError("a job's record has a value that no ledger writes")


def _texts(document: str) -> tuple[str, ...]:
    """A JSON list of texts; ValueError on anything else."""
    try:
        texts = json.loads(document)
    except RecursionError as error:
        raise ValueError("a job's requests are nested too deeply") from error
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("a job's requests are not a list of texts")
    return tuple(texts)


def _forget_cached(path: Path) -> None:
    """Drops the file from the page cache, which after a failed sync holds data that the disk lacks.

    See Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020.
    """
    if sys.platform != "linux":
        return
    for file in (path, Path(f"{path}-wal")):  # SQLite reports a file that cannot be opened
        with contextlib.suppress(OSError), file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _is_empty(connection: apsw.Connection) -> bool:
    """Whether the file is new, or left by a stop between its creation and its first transaction."""
    return connection.pragma("application_id") == 0 and not _tables(connection)


def _create(connection: apsw.Connection) -> None:
    with connection:
        for table in (*_TABLES, *_MONEY_TABLES):
            connection.execute(table)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", SCHEMA)


def _add_accounts(connection: apsw.Connection) -> None:
    with connection:
        for table in _MONEY_TABLES:
            connection.execute(table)
        connection.pragma("user_version", SCHEMA)


def _identify(connection: apsw.Connection, path: Path) -> int:
    """The schema; raises unless this is exactly a ledger of it, so that its checks hold for every row."""
    if connection.pragma("application_id") != APPLICATION_ID:
        raise _foreign(path)
    schema = connection.pragma("user_version")
    if schema not in _TABLES_OF:
        raise MachineError(
            f"the ledger {path} has schema {schema}, this version reads {SCHEMA}: "
            f"use the Shotclock that wrote it"
        )
    if _tables(connection) != _TABLES_OF[schema]:
        raise _explain_damage(path, "its tables are not a ledger's")
    return int(schema)


def open_accounts(connection: apsw.Connection) -> SqlAccounts:
    """The accounts in the file of a writer."""
    return SqlAccounts(connection.execute)


def read_accounts(path: Path, since_unix_s: float, until_unix_s: float) -> list[AccountEntry]:
    """See `SqlAccounts.read_all`; raises as `open_to_read` does."""
    with open_to_read(path) as connection:
        return (
            SqlAccounts(connection.execute).read_all(since_unix_s, until_unix_s)
            if _has_accounts(connection)
            else []
        )


def read_spending(path: Path, provider: str) -> list[Spending]:
    """See `AccountRows.read_spending`; raises as `open_to_read` does."""
    with open_to_read(path) as connection:
        return SqlAccounts(connection.execute).read_spending(provider) if _has_accounts(connection) else []


def _has_accounts(connection: apsw.Connection) -> bool:
    return bool(connection.pragma("user_version") == SCHEMA)


def _tables(connection: apsw.Connection) -> tuple[str, ...]:
    return tuple(text for (text,) in connection.execute("SELECT sql FROM sqlite_schema ORDER BY name"))


def _foreign(path: Path) -> SettingsError:
    return SettingsError(f"{path} is not a ledger of Shotclock: name another file")


def _explain_damage(path: Path, what: str) -> MachineError:
    return MachineError(
        f"the ledger {path} is damaged: {' '.join(what.split())}; keep it, and restore a copy"
    )
