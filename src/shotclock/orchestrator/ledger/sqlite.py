"""The ledger on SQLite: one writer thread, one connection, a sync for each group of writes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import apsw

from shotclock.domain.ledger import JobRecord, LedgerError, LedgerState
from shotclock.orchestrator.ledger import file as ledger_file
from shotclock.orchestrator.ledger.transitions import LedgerBusyError, begin, explain_taken_tag, move, unknown

QUEUE_LIMIT = 1024
GROUP_LIMIT = 64
"""Writes a transaction, so that the first of them does not wait long for the last."""
CHECKPOINT_PAGES = 1000
"""Length of the write-ahead log at which it is copied into the file; SQLite's own default."""

Records = tuple[JobRecord, ...]
_Answered = tuple[asyncio.Future[Records], Records | LedgerError]


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """Work inside a transaction, and who waits for it. The work raises LedgerError before it writes."""

    work: Callable[[apsw.Connection], Records]
    future: asyncio.Future[Records]

    def done(self, connection: apsw.Connection) -> Records | LedgerError:
        try:
            return self.work(connection)
        except LedgerError as error:
            return error


class _Close:
    """Nothing is asked after this."""


class SqliteLedger:
    """A Ledger in a file. What its methods returned from survives SIGKILL and a power cut.

    Writes that arrive while a group is being synced make the next group; an idle writer syncs a lone
    one at once. A call that is cancelled, or raises because the ledger stopped, may have been recorded
    nevertheless. After any error of SQLite or the disk every call raises LedgerError, until the file is
    opened anew, which verifies it. Not to be used by a forked child.

    now_unix_s: wall time for the records, called on the writer's thread; vfs: SQLite's name of the
    file system underneath. Raises SettingsError and MachineError, see `ledger_file`.
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
        self._queue: SimpleQueue[_Request | _Close] = SimpleQueue()
        self._lock = threading.Lock()
        self._refusal = ""
        self._wal_pages = 0
        self._pid = os.getpid()
        opened: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._own, args=(vfs, opened), name="shotclock-ledger", daemon=True
        )
        self._thread.start()
        opened.result()

    async def intend(self, record: JobRecord) -> None:
        """See `Ledger.intend`; LedgerBusyError while the queue is full."""
        # Only intents are refused: a record has one move under way, and a refused one would lose a job's id.
        if self._queue.qsize() >= self._queue_limit:
            raise LedgerBusyError(f"the ledger is {self._queue_limit} writes behind: no intent is taken now")
        await self._ask(partial(self._begin, record))

    async def move(self, tag: str, state: LedgerState, *, job_id: str = "", note: str = "") -> None:
        """See `Ledger.move`."""
        await self._ask(partial(self._move, tag, state, job_id, note))

    async def jobs(self, *states: LedgerState) -> tuple[JobRecord, ...]:
        """See `Ledger.jobs`."""
        return await self._ask(lambda connection: ledger_file.read_jobs(connection, *states))

    def close(self) -> None:
        """Finishes what was asked, and lets go of the file. Nothing happens in a forked child."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            if not self._refusal:
                self._refusal = "the ledger is closed"
                self._queue.put(_Close())
        self._thread.join()

    async def _ask(self, work: Callable[[apsw.Connection], Records]) -> Records:
        if os.getpid() != self._pid:
            raise LedgerError("the ledger was opened before this process was forked: open it anew")
        future: asyncio.Future[Records] = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._refusal:
                raise LedgerError(self._refusal)
            self._queue.put(_Request(work, future))
        return await future

    def _begin(self, record: JobRecord, connection: apsw.Connection) -> Records:
        begins = begin(record, self._now_unix_s())
        if ledger_file.read_job(connection, record.tag):
            raise explain_taken_tag(record.tag)
        ledger_file.write(connection, begins.state, begins)
        return ()

    def _move(
        self, tag: str, state: LedgerState, job_id: str, note: str, connection: apsw.Connection
    ) -> Records:
        for before in ledger_file.read_job(connection, tag):
            ledger_file.write(connection, before.state, move(before, state, job_id, note, self._now_unix_s()))
            return ()
        raise unknown(tag)

    # What follows runs on the writer's thread. The connection lives on its stack alone, where a forked
    # child, which has no such thread, can neither use nor close it.

    def _own(self, vfs: str, opened: Future[None]) -> None:
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
        group: list[_Request] = []
        reason = "the ledger's writer has ended"
        try:
            for group in self._groups():
                self._commit(connection, group)
                self._checkpoint(connection)
        except apsw.Error as error:
            # What a failed sync held may be gone from the page cache: nothing is read back or synced again.
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            reason = f"the ledger {self._path} stopped: {error}; start again to verify it"
        finally:
            self._end(reason, group)

    def _commit(self, connection: apsw.Connection, group: list[_Request]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        answers = [request.done(connection) for request in group]
        connection.execute("COMMIT")
        _answer(group, answers)
        group.clear()

    def _groups(self) -> Iterator[list[_Request]]:
        asked: list[_Request | _Close] = []
        while not asked or isinstance(asked[-1], _Request):
            asked = [self._queue.get()]
            while len(asked) < GROUP_LIMIT and not self._queue.empty():
                asked.append(self._queue.get())
            yield [one for one in asked if isinstance(one, _Request)]

    def _grow(self, connection: apsw.Connection, database: str, pages: int) -> int:
        del connection, database
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self, connection: apsw.Connection) -> None:
        """Nobody waits for it; and unlike in SQLite's own, an error stops the ledger."""
        if self._wal_pages >= CHECKPOINT_PAGES:
            with contextlib.suppress(apsw.BusyError):  # someone else is at it
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _end(self, reason: str, group: list[_Request]) -> None:
        with self._lock:
            self._refusal = self._refusal or reason
        waiting = list(group)
        while not self._queue.empty():
            asked = self._queue.get()
            if isinstance(asked, _Request):
                waiting.append(asked)
        _answer(waiting, [LedgerError(reason) for _ in waiting])


def _answer(group: list[_Request], answers: Sequence[Records | LedgerError]) -> None:
    """Tells who waits; one call a loop, since each wakes it."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Answered]] = {}
    for request, answer in zip(group, answers, strict=True):
        by_loop.setdefault(request.future.get_loop(), []).append((request.future, answer))
    for loop, answered in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, answered)


def _resolve(answered: list[_Answered]) -> None:
    for future, answer in answered:
        if future.done():  # cancelled meanwhile
            continue
        if isinstance(answer, LedgerError):
            future.set_exception(answer)
        else:
            future.set_result(answer)
