"""What replicas write into the shared ledger; each function runs inside the caller's transaction.

Locks are taken in one order: the replica's lease, the provider, the job.
"""

from __future__ import annotations

import json

from shotclock.domain.accounting import JobUsage
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.ledger import JobRecord, LedgerError, LedgerState
from shotclock.orchestrator.ledger.accounts import open_account, release_unsubmitted, settle_account
from shotclock.orchestrator.ledger.database import (
    CLOSED,
    LOCK_OPEN,
    Connection,
    open_accounts,
    read_jobs,
    read_open,
    read_record,
    transact,
)
from shotclock.orchestrator.ledger.limits import SharedLimits
from shotclock.orchestrator.ledger.transitions import (
    AdoptedError,
    LanesBusyError,
    begin,
    explain_illegal,
    explain_taken_tag,
    explain_unknown_tag,
    move,
)

NO_EPOCH = 0
"""Owns what nobody owns, so that a replica adopts it; a lease never has it."""


def take_lease(connection: Connection, incarnation: str, term_s: float, previous: int) -> int:
    """A new lease's epoch, larger than every earlier one; the process's previous lease ends."""
    with transact(connection):
        connection.execute("DELETE FROM shotclock.leases WHERE epoch = %s", (previous,))
        ((epoch,),) = connection.execute(
            "INSERT INTO shotclock.leases VALUES (nextval('shotclock.epochs'), %s, "
            "clock_timestamp() + make_interval(secs => %s)) RETURNING epoch",
            (incarnation, term_s),
        ).fetchall()
    return int(epoch)


def renew_lease(connection: Connection, epoch: int, term_s: float) -> bool:
    """Whether the lease still exists, and lasts for another term from now on."""
    renewal = connection.execute(
        "UPDATE shotclock.leases SET expires_at = clock_timestamp() + make_interval(secs => %s) "
        "WHERE epoch = %s",
        (term_s, epoch),
    )
    return bool(renewal.rowcount)


def end_lease(connection: Connection, epoch: int) -> None:
    """The jobs that it owns are adopted by others at once."""
    connection.execute("DELETE FROM shotclock.leases WHERE epoch = %s", (epoch,))


def hold_lease(connection: Connection, epoch: int) -> bool:
    """Whether the epoch is that of a lease in force; nobody ends it before this transaction does.

    It may be renewed meanwhile.
    """
    rows = connection.execute(
        "SELECT FROM shotclock.leases WHERE epoch = %s AND expires_at > clock_timestamp() FOR KEY SHARE",
        (epoch,),
    )
    return rows.fetchone() is not None


def write_intent(
    connection: Connection, record: JobRecord, limits: SharedLimits, epoch: int, now_unix_s: float
) -> int:
    """Records an intent; returns how long to wait before the submit, nanoseconds.

    Raises LanesBusyError while all lanes are in use, OverBudgetError and OverQuotaError where it may not be
    paid for, LedgerError on what is not a new intent.
    """
    begins = begin(record, now_unix_s)
    lock_provider(connection, record.provider, limits)
    # A new statement, which sees what was committed while this one waited for the provider's row.
    ((is_taken, running),) = connection.execute(
        f"SELECT EXISTS (SELECT FROM shotclock.jobs WHERE tag = %s), ({_RUNNING})",  # noqa: S608
        (begins.tag, begins.provider, limits.parked_s),
    ).fetchall()
    if is_taken:
        raise explain_taken_tag(begins.tag)
    if limits.lanes is not None and running >= limits.lanes:
        raise LanesBusyError(f"{running} jobs of all replicas are with {begins.provider}: no lane is free")
    open_account(open_accounts(connection), begins, limits.money, now_unix_s)
    connection.execute(
        _ADD_JOB + _INSERT_MOVE,
        {
            **_describe_move(begins.state, begins, 0, epoch),
            "provider": begins.provider,
            "requests": json.dumps(begins.requests),
            "shots": begins.shots,
        },
    )
    return _take_token(connection, begins.provider, limits)


_RUNNING = """SELECT count(*) FROM shotclock.open_jobs WHERE provider = %s AND
(state IN ('intent', 'submitted')
OR state = 'parked' AND since > clock_timestamp() - make_interval(secs => %s))"""


def count_running(connection: Connection, provider: str, limits: SharedLimits) -> int:
    """The lanes in use. A parked job may be running, so that it keeps its lane for a time."""
    ((running,),) = connection.execute(_RUNNING, (provider, limits.parked_s)).fetchall()
    return int(running)


def write_move(
    connection: Connection,
    tag: str,
    state: LedgerState,
    *,
    job_id: str,
    note: str,
    epoch: int,
    now_unix_s: float,
    is_repeated: bool = False,
) -> None:
    """Moves a job that the epoch owns; with NO_EPOCH a parked one of anybody, for a person.

    is_repeated: a move to this state at this instant may have been committed when the connection was lost,
    and others after it; it is made once.
    Raises AdoptedError on another replica's job, LedgerError on an unknown tag or a move that is not legal.
    """
    # no record has such a tag, and the driver may be unable to send it
    row = _lock_job(connection, tag) if tag.isprintable() else None
    if is_repeated and _has_moved(connection, tag, state, now_unix_s):
        return
    if row is None:
        raise _explain_closed(connection, tag, state, epoch)
    step, owner, before = row
    is_for_a_person = epoch == NO_EPOCH and before.state is LedgerState.PARKED
    if owner != epoch and not is_for_a_person:
        raise AdoptedError(f"{tag} belongs to another replica by now: its record is left to that one")
    after = move(before, state, job_id, note, now_unix_s)
    connection.execute(
        (_CLOSE_JOB if state in CLOSED else _KEEP_JOB) + _INSERT_MOVE,
        _describe_move(before.state, after, step + 1, epoch),
    )
    release_unsubmitted(open_accounts(connection), after, now_unix_s)


_INSERT_MOVE = """INSERT INTO shotclock.moves (tag, step, before, after, job_id, note, at_unix_s, epoch)
VALUES (%(tag)s, %(step)s, %(before)s, %(after)s, %(job_id)s, %(note)s, %(at)s, %(epoch)s)"""
_ADD_JOB = """WITH
job AS (INSERT INTO shotclock.jobs VALUES (%(tag)s, %(provider)s, %(requests)s, %(shots)s)),
current AS (INSERT INTO shotclock.open_jobs
VALUES (%(tag)s, %(provider)s, %(after)s, 0, %(epoch)s, clock_timestamp())) """
_CLOSE_JOB = "WITH closed AS (DELETE FROM shotclock.open_jobs WHERE tag = %(tag)s) "
_KEEP_JOB = """WITH current AS (UPDATE shotclock.open_jobs SET state = %(after)s, step = %(step)s,
epoch = %(epoch)s, since = clock_timestamp() WHERE tag = %(tag)s) """


def _describe_move(before: LedgerState, after: JobRecord, step: int, epoch: int) -> dict[str, object]:
    return {
        "tag": after.tag,
        "step": step,
        "before": before,
        "after": after.state,
        "job_id": after.job_id,
        "note": after.note,
        "at": after.changed_unix_s,
        "epoch": epoch,
    }


def write_charge(connection: Connection, tag: str, usage: JobUsage, now_unix_s: float) -> None:
    """See `settle_account`; any replica may report it, one at a time."""
    connection.execute(
        "SELECT FROM shotclock.providers p JOIN shotclock.accounts a ON a.provider = p.name "
        "WHERE a.tag = %s FOR UPDATE OF p",
        (tag,),
    )
    settle_account(open_accounts(connection), tag, usage, now_unix_s)


def adopt_jobs(connection: Connection, provider: str, epoch: int, term_s: float) -> tuple[JobRecord, ...]:
    """The provider's open jobs of dead replicas, which the epoch owns from now on.

    A lease that could not be renewed because the server was down is left alone for a term after its start.
    """
    connection.execute(
        "DELETE FROM shotclock.leases WHERE expires_at < clock_timestamp() "
        "AND pg_postmaster_start_time() + make_interval(secs => %s) < clock_timestamp()",
        (term_s,),
    )
    rows = connection.execute(
        "UPDATE shotclock.open_jobs o SET epoch = %s WHERE provider = %s AND NOT EXISTS "
        "(SELECT FROM shotclock.leases l WHERE l.epoch = o.epoch) RETURNING tag",
        (epoch, provider),
    )
    tags = [tag for (tag,) in rows]
    return read_open(connection, tags) if tags else ()


def read_owned(connection: Connection, provider: str, epoch: int) -> tuple[JobRecord, ...]:
    """The provider's open jobs that the epoch owns, oldest change first."""
    rows = connection.execute(
        "SELECT tag FROM shotclock.open_jobs WHERE provider = %s AND epoch = %s", (provider, epoch)
    )
    tags = {tag for (tag,) in rows}
    open_states = set(LedgerState) - CLOSED
    return tuple(job for job in read_jobs(connection, *open_states) if job.tag in tags) if tags else ()


def lock_provider(connection: Connection, provider: str, limits: SharedLimits) -> None:
    """Intents for a provider are decided one after the other."""
    query = "SELECT FROM shotclock.providers WHERE name = %s FOR UPDATE"
    if connection.execute(query, (provider,)).fetchone() is None:
        connection.execute(
            "INSERT INTO shotclock.providers VALUES (%s, %s, clock_timestamp()) ON CONFLICT DO NOTHING",
            (provider, limits.submissions_per_minute or 0.0),
        )
        connection.execute(query, (provider,))


def _take_token(connection: Connection, provider: str, limits: SharedLimits) -> int:
    """As `TokenBucket.reserve_ns`: waits queue up in the order in which they are made."""
    per_minute = limits.submissions_per_minute
    if per_minute is None:
        return 0
    per_s = per_minute / 60
    ((tokens,),) = connection.execute(
        "UPDATE shotclock.providers SET refilled_at = clock_timestamp(), tokens = least(%s, tokens + %s * "
        "extract(epoch FROM clock_timestamp() - refilled_at)::double precision) - 1 "
        "WHERE name = %s RETURNING tokens",
        (per_minute, per_s, provider),
    ).fetchall()
    return 0 if tokens >= 0 else round(-tokens / per_s * NS_PER_S)


def _lock_job(connection: Connection, tag: str) -> tuple[int, int, JobRecord] | None:
    """The number of its last move, the epoch that owns it, and its record; None if it may not move any more.

    A statement that waited for another's move does not see that one, but holds the row: the next one does.
    """
    for _ in range(2):
        row = connection.execute(f"{LOCK_OPEN} WHERE o.tag = %s FOR UPDATE OF o", (tag,)).fetchone()
        if row is not None:
            step, epoch, *record = row
            return step, epoch, read_record(tuple(record))
    return None


def _has_moved(connection: Connection, tag: str, state: LedgerState, at_unix_s: float) -> bool:
    row = connection.execute(
        "SELECT FROM shotclock.moves WHERE tag = %s AND after = %s AND at_unix_s = %s",
        (tag, state, at_unix_s),
    ).fetchone()
    return row is not None


def _explain_closed(connection: Connection, tag: str, state: LedgerState, epoch: int) -> LedgerError:
    """The error for a move of a job that is unknown or closed."""
    row = None
    if tag.isprintable():
        row = connection.execute(
            "SELECT j.provider, j.shots, m.after, m.job_id, m.epoch FROM shotclock.moves m "
            "JOIN shotclock.jobs j ON j.tag = m.tag WHERE m.tag = %s ORDER BY m.step DESC LIMIT 1",
            (tag,),
        ).fetchone()
    if row is None:
        return explain_unknown_tag(tag)
    provider, shots, last, job_id, by = row
    error = explain_illegal(JobRecord(tag, provider, (), shots, LedgerState(last), job_id), state)
    return AdoptedError(str(error)) if by != epoch else error
