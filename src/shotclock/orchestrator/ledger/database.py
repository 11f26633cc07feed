"""The ledger's PostgreSQL database: how it is named, the checks on connecting, the tables and the reads.

`jobs` and `moves` only grow: a row per record, a row per transition. `open_jobs` holds the records that may
still move, so that what is asked all the time reads a few rows; its `epoch` is the lease that owns the job.
Every name is qualified and every statement is unprepared, so that a pooler of transactions may be between.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from typing import Any, TypeAlias

import psycopg
from psycopg import conninfo, errors

from shotclock.domain.errors import MachineError, SettingsError
from shotclock.domain.ledger import JobRecord, LedgerState
from shotclock.orchestrator.ledger.account_rows import SqlAccounts
from shotclock.orchestrator.ledger.transitions import Transition

Connection: TypeAlias = psycopg.Connection[Any]

SCHEMA = 2
OLDEST_SERVER = 130_000
"""PostgreSQL 13, as `server_version` counts."""
CONNECT_S = 3
SILENT_MS = 5_000
"""How long what was sent may stay unacknowledged: half a lease."""

CLOSED = frozenset({LedgerState.APPLIED, LedgerState.STALE, LedgerState.FAILED})
"""States without a next one."""

_MONEY_TABLES = """
CREATE TABLE shotclock.accounts (
  tag text PRIMARY KEY,
  provider text NOT NULL,
  budget text NOT NULL,
  resource text NOT NULL,
  calls text NOT NULL,
  estimate_s double precision,
  price_per_s double precision NOT NULL,
  currency text NOT NULL,
  intended_unix_s double precision NOT NULL,
  used_s double precision,
  began_unix_s double precision,
  ended_unix_s double precision
);
CREATE TABLE shotclock.spending (
  provider text NOT NULL,
  budget text NOT NULL,
  caller text NOT NULL,
  day text NOT NULL,
  seconds double precision NOT NULL,
  money double precision NOT NULL,
  PRIMARY KEY (provider, budget, caller, day)
) WITH (fillfactor = 50);
CREATE INDEX ON shotclock.accounts (intended_unix_s);
CREATE TABLE shotclock.repeats (
  caller text NOT NULL,
  request_id text NOT NULL,
  at_unix_s double precision NOT NULL,
  PRIMARY KEY (caller, request_id)
);
"""
_STATES = ", ".join(f"'{state}'" for state in LedgerState)
_TABLES = f"""
CREATE SCHEMA shotclock;
CREATE TABLE shotclock.schema_version (version integer NOT NULL);
INSERT INTO shotclock.schema_version VALUES ({SCHEMA});
CREATE SEQUENCE shotclock.epochs AS bigint;
CREATE TABLE shotclock.leases (
  epoch bigint PRIMARY KEY,
  incarnation text NOT NULL,
  expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE shotclock.providers (
  name text PRIMARY KEY,
  tokens double precision NOT NULL,
  refilled_at timestamptz NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE shotclock.jobs (
  tag text PRIMARY KEY,
  provider text NOT NULL,
  requests text NOT NULL,
  shots bigint NOT NULL
);
CREATE TABLE shotclock.moves (
  move bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tag text NOT NULL REFERENCES shotclock.jobs,
  step integer NOT NULL,
  before text NOT NULL CHECK (before IN ({_STATES})),
  after text NOT NULL CHECK (after IN ({_STATES})),
  job_id text NOT NULL,
  note text NOT NULL,
  at_unix_s double precision NOT NULL,
  epoch bigint NOT NULL,
  UNIQUE (tag, step)
);
CREATE TABLE shotclock.open_jobs (
  tag text PRIMARY KEY REFERENCES shotclock.jobs,
  provider text NOT NULL,
  state text NOT NULL CHECK (state IN ({_STATES})),
  step integer NOT NULL,
  epoch bigint NOT NULL,
  since timestamptz NOT NULL
) WITH (fillfactor = 50);
{_MONEY_TABLES}"""  # noqa: S608 - the states are ours
_RECORD = "j.tag, j.provider, j.requests, j.shots, m.after, m.job_id, m.note, m.at_unix_s"
_FROM_OPEN = """FROM shotclock.open_jobs o
JOIN shotclock.jobs j ON j.tag = o.tag JOIN shotclock.moves m ON m.tag = o.tag AND m.step = o.step"""
_OPEN = f"SELECT {_RECORD} {_FROM_OPEN}"
LOCK_OPEN = f"SELECT o.step, o.epoch, {_RECORD} {_FROM_OPEN}"
"""The number of an open job's last move, the epoch that owns it, and its record."""
_ALL = f"""SELECT {_RECORD} FROM shotclock.moves m JOIN shotclock.jobs j ON j.tag = m.tag
WHERE m.after = ANY(%s) AND NOT EXISTS
(SELECT FROM shotclock.moves n WHERE n.tag = m.tag AND n.step = m.step + 1) ORDER BY m.move"""  # noqa: S608


def describe(url: str) -> str:
    """The database for people: no user, no password."""
    words = _parse(url)
    port = f":{words['port']}" if "port" in words else ""
    return f"postgresql://{words.get('host', '')}{port}/{words.get('dbname', '')}"


def connect(url: str, application: str = "shotclock") -> Connection:
    """A checked connection; each statement is a transaction unless it says otherwise.

    Raises SettingsError on a URL that is not valid or holds a password, MachineError on a server that is not
    suitable, psycopg.OperationalError if it does not answer.
    """
    words = {
        "connect_timeout": CONNECT_S,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": SILENT_MS,
        "target_session_attrs": "read-write",
        "application_name": application,
        **_parse(url),
    }
    connection: Connection = psycopg.connect(**words, autocommit=True, prepare_threshold=None)
    try:
        _check_server(connection, describe(url))
    except BaseException:
        connection.close()
        raise
    return connection


def duplicate_socket(connection: Connection) -> socket.socket:
    """A second name of its socket, which another thread may shut down."""
    return socket.socket(fileno=os.dup(connection.fileno()))


def shut_down(connected: socket.socket) -> None:
    """Ends a wait for a server that will not answer, on whatever thread it is."""
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def translate_errors(url: str) -> Iterator[None]:
    """Translates the driver's errors into one-line errors; for what is done once, at a start or by a tool."""
    try:
        yield
    except errors.InsufficientPrivilege as error:
        raise MachineError(
            f"the ledger {describe(url)}: {reason(error)}; let this user own its schema `shotclock`, "
            f"or grant CREATE on the database"
        ) from error
    except psycopg.Error as error:
        raise MachineError(f"cannot use the ledger {describe(url)}: {reason(error)}") from error


@contextlib.contextmanager
def transact(connection: Connection) -> Iterator[None]:
    """A transaction; unlike the driver's, raises OperationalError if the connection ended before it."""
    with connection.transaction():
        yield
    if connection.closed:
        raise psycopg.OperationalError("the connection ended before the commit was confirmed")


def reason(error: BaseException) -> str:
    """The driver's words in one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def open_to_write(url: str, application: str = "shotclock") -> Connection:
    """A connection to the ledger, whose tables are created if they do not exist. Raises as `connect`."""
    connection = connect(url, application)
    try:
        _create(connection, describe(url))
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def open_to_read(url: str) -> Iterator[Connection]:
    """A connection to a ledger that exists. Raises SettingsError and MachineError alone."""
    with translate_errors(url), contextlib.closing(connect(url, "shotclock-read")) as connection:
        if _read_schema(connection) is None:
            raise SettingsError(f"no ledger at {describe(url)}: name another database")
        _create(connection, describe(url))
        yield connection


def read_jobs(connection: Connection, *states: LedgerState) -> tuple[JobRecord, ...]:
    """The records in these states, all if none is given; the oldest change first."""
    if states and not CLOSED & set(states):
        rows = connection.execute(f"{_OPEN} WHERE o.state = ANY(%s) ORDER BY m.move", (list(states),))
    else:
        rows = connection.execute(_ALL, (list(states or LedgerState),))
    return tuple(read_record(row) for row in rows)


def read_open(connection: Connection, tags: list[str]) -> tuple[JobRecord, ...]:
    """The records with these tags that may still move."""
    return tuple(read_record(row) for row in connection.execute(f"{_OPEN} WHERE o.tag = ANY(%s)", (tags,)))


def read_longest_parked(connection: Connection, most: int) -> tuple[JobRecord, ...]:
    """As many parked records as allowed, the longest-parked first."""
    rows = connection.execute(
        f"{_OPEN} WHERE o.state = %s ORDER BY m.move LIMIT %s", (LedgerState.PARKED, most)
    )
    return tuple(read_record(row) for row in rows)


def count_jobs(connection: Connection) -> dict[LedgerState, int]:
    """How many records are in each state: the moves into it less the moves out of it."""
    counts = dict.fromkeys(LedgerState, 0)
    rows = connection.execute(
        "SELECT before, after, step = 0, count(*) FROM shotclock.moves GROUP BY before, after, step = 0"
    )
    for before, after, is_first, count in rows:
        counts[LedgerState(after)] += count
        if not is_first:
            counts[LedgerState(before)] -= count
    return counts


def read_history(connection: Connection, tag: str) -> tuple[Transition, ...]:
    """A record's transitions, the oldest first."""
    if not tag.isprintable():
        return ()
    rows = connection.execute(
        "SELECT before, after, job_id, note, at_unix_s FROM shotclock.moves WHERE tag = %s ORDER BY step",
        (tag,),
    )
    return tuple(
        Transition(tag, LedgerState(before), LedgerState(after), job_id, note, at_unix_s)
        for before, after, job_id, note, at_unix_s in rows
    )


def open_accounts(connection: Connection) -> SqlAccounts:
    """The accounts in the database."""

    return SqlAccounts(
        lambda query, values: connection.execute(query.replace("?", "%s"), values), "shotclock."
    )


def read_record(row: tuple[Any, ...]) -> JobRecord:
    """The record in the columns of this module's queries."""
    tag, provider, requests, shots, state, job_id, note, changed_unix_s = row
    return JobRecord(
        tag, provider, tuple(json.loads(requests)), shots, LedgerState(state), job_id, note, changed_unix_s
    )


def _parse(url: str) -> dict[str, Any]:
    """What the URL says. The driver's words on a wrong one may repeat a password."""
    try:
        words: dict[str, Any] = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise SettingsError(
            "serve.ledger: is not a valid PostgreSQL URL; write postgresql://USER@HOST:PORT/DATABASE"
        ) from None
    if words.get("password"):
        raise SettingsError(
            "serve.ledger: must not hold a password; write it to a file of mode 0600 in the format of "
            ".pgpass, and add ?passfile=/path/of/the/file"
        )
    return words


def _check_server(connection: Connection, name: str) -> None:
    if connection.info.server_version < OLDEST_SERVER:
        version = connection.info.server_version // 10_000
        raise MachineError(f"the ledger {name}: PostgreSQL {version} is too old; use 13 or later")
    for setting in ("fsync", "synchronous_commit"):
        ((value,),) = connection.execute(f"SHOW {setting}").fetchall()
        if value == "off":
            raise MachineError(
                f"the ledger {name}: {setting} is off, so that a commit may be lost; set it to on"
            )


def _read_schema(connection: Connection) -> int | None:
    """The version of the tables; None if they do not exist."""
    ((table,),) = connection.execute("SELECT to_regclass('shotclock.schema_version')").fetchall()
    if table is None:
        return None
    versions = connection.execute("SELECT version FROM shotclock.schema_version").fetchall()
    return int(versions[0][0]) if versions else 0


def _create(connection: Connection, name: str) -> None:
    version = _read_schema(connection)
    if version is None:
        # Another replica may be creating them: its commit makes this transaction fail as a whole.
        with (
            contextlib.suppress(errors.DuplicateSchema, errors.DuplicateTable, errors.UniqueViolation),
            transact(connection),
        ):
            connection.execute(_TABLES)
        version = _read_schema(connection)
    if version == 1:
        # Replicas of the version before go on beside this one: they write no accounts.
        with contextlib.suppress(errors.DuplicateTable, errors.UniqueViolation), transact(connection):
            connection.execute(_MONEY_TABLES)
            connection.execute("UPDATE shotclock.schema_version SET version = %s", (SCHEMA,))
        version = _read_schema(connection)
    if version != SCHEMA:
        raise MachineError(
            f"the ledger {name} has schema {version}, this version reads {SCHEMA}: "
            f"use the Shotclock that wrote it"
        )
