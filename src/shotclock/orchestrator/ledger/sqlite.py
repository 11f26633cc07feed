"""The ledger on SQLite: one writer thread, one connection, one sync per group of writes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import apsw

from shotclock.domain import documents
from shotclock.domain.accounting import JobUsage
from shotclock.domain.ledger import JobRecord, LedgerError, LedgerState
from shotclock.orchestrator.ledger import file as ledger_file
from shotclock.orchestrator.ledger.accounts import open_account, release_unsubmitted, settle_account
from shotclock.orchestrator.ledger.limits import UNLIMITED, SharedLimits
from shotclock.orchestrator.ledger.requests import QUEUE_LIMIT, Close, Records, Request, answer, take_groups
from shotclock.orchestrator.ledger.transitions import (
    LedgerBusyError,
    begin,
    explain_taken_tag,
    explain_unknown_tag,
    move,
)

CHECKPOINT_PAGES = 1000
"""Length of the write-ahead log at which it is copied into the file; SQLite's own default."""


class SqliteLedger:
    """A Ledger in a file. A write whose method has returned survives SIGKILL and a power cut.

    Writes that arrive during a sync form the next group; an idle writer syncs a single write at once. A call
    that is cancelled, or raises because the ledger stopped, may still have been recorded. After any SQLite or
    disk error every call raises LedgerError until the file is reopened, which verifies it. A forked child
    must not use it.

    now_unix_s: wall time for the records, called on the writer's thread.
    vfs: SQLite's name of the file system layer.
    queue_limit: writes that may wait before intents are refused.

    Raises SettingsError and MachineError, see `ledger_file`.
    """

    def __init__(
        self,
        path: Path,
        now_unix_s: Callable[[], float],
        *,
        vfs: str = "unix",
        queue_limit: int = QUEUE_LIMIT,
        sqlite_version: str = apsw.sqlite_lib_version(),
    ) -> None:
        ledger_file.check_sqlite(sqlite_version)
        self._path = path.resolve()
        self._now_unix_s = now_unix_s
        self._queue_limit = queue_limit
        self._limits: dict[str, SharedLimits] = {}
        self._queue: SimpleQueue[Request[apsw.Connection] | Close] = SimpleQueue()
        self._lock = threading.Lock()
        self._refusal = ""
        self._wal_pages = 0
        self._pid = os.getpid()
        opened: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run_writer, args=(vfs, opened), name="shotclock-ledger", daemon=True
        )
        self._thread.start()
        opened.result()

    def limit(self, provider: str, limits: SharedLimits) -> None:
        """What may be spent with the provider; nobody else uses its lanes and its rate."""
        self._limits[provider] = limits

    async def intend(self, record: JobRecord) -> None:
        """See `Ledger.intend`; LedgerBusyError while the queue is full."""
        # Only intents are refused: refusing a move would lose a submitted job's id.
        if self._queue.qsize() >= self._queue_limit:
            raise LedgerBusyError(
                f"the ledger is {self._queue_limit} writes behind: no intent is accepted now"
            )
        await self._ask(partial(self._begin, record))

    async def move(self, tag: str, state: LedgerState, *, job_id: str = "", note: str = "") -> None:
        """See `Ledger.move`."""
        await self._ask(partial(self._move, tag, state, job_id, note))

    async def charge(self, tag: str, usage: JobUsage) -> None:
        """See `Ledger.charge`."""
        await self._ask(partial(self._charge, tag, usage))

    async def jobs(self, *states: LedgerState) -> tuple[JobRecord, ...]:
        """See `Ledger.jobs`."""
        return await self._ask(lambda connection: ledger_file.read_jobs(connection, *states))

    def close(self) -> None:
        """Completes the queued writes and closes the file. Does nothing in a forked child."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            if not self._refusal:
                self._refusal = "the ledger is closed"
                self._queue.put(Close())
        self._thread.join()

    async def _ask(self, work: Callable[[apsw.Connection], Records]) -> Records:
        if os.getpid() != self._pid:
            raise LedgerError("the ledger was opened before this process was forked: open it again")
        future: asyncio.Future[Records] = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._refusal:
                raise LedgerError(self._refusal)
            self._queue.put(Request(work, future))
        return await future

    def _begin(self, record: JobRecord, connection: apsw.Connection) -> Records:
        begins = begin(record, self._now_unix_s())
        if ledger_file.read_job(connection, record.tag):
            raise explain_taken_tag(record.tag)
        rules = self._limits.get(record.provider, UNLIMITED).money
        open_account(ledger_file.open_accounts(connection), begins, rules, begins.changed_unix_s)
        ledger_file.write(connection, begins.state, begins)
        return ()

    def _move(
        self, tag: str, state: LedgerState, job_id: str, note: str, connection: apsw.Connection
    ) -> Records:
        for before in ledger_file.read_job(connection, tag):
            after = move(before, state, job_id, note, self._now_unix_s())
            ledger_file.write(connection, before.state, after)
            release_unsubmitted(ledger_file.open_accounts(connection), after, after.changed_unix_s)
            return ()
        raise explain_unknown_tag(tag)

    def _charge(self, tag: str, usage: JobUsage, connection: apsw.Connection) -> Records:
        settle_account(ledger_file.open_accounts(connection), tag, usage, self._now_unix_s())
        return ()

    # The methods below run on the writer's thread. Only its stack holds the connection, so a forked child,
    # which has no such thread, can neither use nor close it.

    def _run_writer(self, vfs: str, opened: Future[None]) -> None:
        try:
            with ledger_file.sole_writer(self._path):
                connection = ledger_file.open_to_write(self._path, vfs)
                with contextlib.closing(connection):
                    connection.set_wal_hook(self._grow)
                    opened.set_result(None)
                    self._serve(connection)
        except BaseException as error:
            if opened.done():
                raise
            opened.set_exception(error)

    def _serve(self, connection: apsw.Connection) -> None:
        group: list[Request[apsw.Connection]] = []
        reason = "the ledger's writer has ended"
        try:
            for group in take_groups(self._queue):
                self._commit(connection, group)
                self._checkpoint(connection)
        except apsw.Error as error:
            # After a failed sync the page cache may have lost the data: do not read back or sync again.
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            why = documents.describe_reason(error)
            reason = f"the ledger {self._path} stopped: {why}; start again to verify it"
        finally:
            self._end(reason, group)

    def _commit(self, connection: apsw.Connection, group: list[Request[apsw.Connection]]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        answers = [request.run(connection) for request in group]
        connection.execute("COMMIT")
        answer(group, answers)
        group.clear()

    def _grow(self, connection: apsw.Connection, database: str, pages: int) -> int:
        del connection, database
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self, connection: apsw.Connection) -> None:
        """Copies the log into the file after the answers were sent; unlike SQLite's own, it raises errors."""
        if self._wal_pages >= CHECKPOINT_PAGES:
            with contextlib.suppress(apsw.BusyError):  # another process is checkpointing
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _end(self, reason: str, group: list[Request[apsw.Connection]]) -> None:
        with self._lock:
            self._refusal = self._refusal or reason
        waiting = list(group)
        while not self._queue.empty():
            item = self._queue.get()
            if isinstance(item, Request):
                waiting.append(item)
        answer(waiting, [LedgerError(reason) for _ in waiting])
