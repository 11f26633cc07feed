"""The ledger on PostgreSQL, which replicas share: one writer thread, one connection, one commit per group.

Intents are refused while the server does not answer; everything else is repeated until it does, for as long
as the replica's lease lasts. Then the jobs of that lease are left to whoever adopts them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue

import psycopg

from shotclock.domain.accounting import JobUsage
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import ShotclockError
from shotclock.domain.ledger import JobRecord, LedgerError, LedgerState
from shotclock.orchestrator.ledger import database, shared
from shotclock.orchestrator.ledger.database import Connection
from shotclock.orchestrator.ledger.lease import PAUSE_S, Lease, read_clock_s
from shotclock.orchestrator.ledger.limits import UNLIMITED, SharedLimits
from shotclock.orchestrator.ledger.requests import QUEUE_LIMIT, Close, Records, Request, answer, take_groups
from shotclock.orchestrator.ledger.shared import NO_EPOCH
from shotclock.orchestrator.ledger.transitions import AdoptedError, LedgerBusyError

CLOSE_S = 5.0
"""What the writer and the lease have to end."""
LANE_PAUSE_S = 0.02
NOT_SUBMITTED = "not submitted: the ledger's database did not confirm the intent"


class PostgresLedger:
    """A Ledger in a database. A write whose method has returned survives a kill of any process.

    A forked child must not use it.

    term_s: how long this replica's jobs are its own after the last renewal, seconds.
    now_unix_s: wall time for the records, called on the writer's thread.
    clock_s: what the lease is measured by.
    Raises SettingsError and MachineError.
    """

    def __init__(
        self,
        url: str,
        now_unix_s: Callable[[], float],
        *,
        term_s: float = 10.0,
        clock_s: Callable[[], float] = read_clock_s,
    ) -> None:
        self._url = url
        self._now_unix_s = now_unix_s
        self._term_s = term_s
        self._limits: dict[str, SharedLimits] = {}
        self._queue: SimpleQueue[Request[Connection] | Close] = SimpleQueue()
        self._lock = threading.Lock()
        self._refusal = ""
        self._is_repeating = False
        self._held_epoch = NO_EPOCH
        self._doubtful: dict[str, JobRecord] = {}
        self._adopted: set[str] = set()
        self._pid = os.getpid()
        with database.translate_errors(url):
            self._connection: Connection | None = database.open_to_write(url)
        self._socket = database.duplicate_socket(self._connection)
        self._lease = Lease(url, term_s, self._abort_write, clock_s)
        self._thread = threading.Thread(target=self._run_writer, name="shotclock-ledger", daemon=True)
        self._thread.start()

    @property
    def epoch(self) -> int:
        """That of the lease in force; NO_EPOCH without one."""
        return self._lease.epoch

    def limit(self, provider: str, limits: SharedLimits) -> None:
        """What all replicas together may have with the provider, for the intents of this one."""
        self._limits[provider] = limits

    async def intend(self, record: JobRecord) -> None:
        """See `Ledger.intend`; returns when the job may be submitted, and while the lease is in force.

        Raises LanesBusyError while all lanes are in use, LedgerBusyError while the server does not answer.
        """
        if self._refusal:
            raise LedgerError(self._refusal)
        epoch = self._lease.epoch
        if self._is_repeating or epoch == NO_EPOCH:
            raise LedgerBusyError("the ledger's database does not answer: no intent is accepted now")
        if self._queue.qsize() >= QUEUE_LIMIT:
            raise LedgerBusyError(f"the ledger is {QUEUE_LIMIT} writes behind: no intent is accepted now")
        wait_ns: list[int] = []
        await self._ask(partial(self._begin, record, epoch, wait_ns), intent=record)
        await asyncio.sleep(wait_ns[-1] / NS_PER_S)
        # Nothing else is between this line and the submit. Whoever adopted the job closes its record.
        if self._lease.epoch != epoch:
            raise LedgerBusyError("the lease ran out before the submit: the job is not submitted")

    async def wait_for_lane(self, provider: str) -> None:
        """Returns when a lane of the provider seems free; the intent decides."""
        limits = self._limits.get(provider, UNLIMITED)
        while limits.lanes is not None and not self._is_repeating and self._lease.epoch != NO_EPOCH:
            counts: list[int] = []
            await self._ask(partial(_count, provider, limits, counts))
            if counts[-1] < limits.lanes:
                return
            await asyncio.sleep(LANE_PAUSE_S)

    async def move(self, tag: str, state: LedgerState, *, job_id: str = "", note: str = "") -> None:
        """See `Ledger.move`. Raises AdoptedError where another replica owns the job by now."""
        began_unix_s: list[float] = []
        try:
            await self._ask(partial(self._move, tag, state, job_id, note, began_unix_s))
        except AdoptedError:
            raise
        except LedgerError as error:
            # This process may work on it twice: as the one that submitted it, and as the one that adopted it.
            raise (AdoptedError(str(error)) if tag in self._adopted else error) from None

    async def charge(self, tag: str, usage: JobUsage) -> None:
        """See `Ledger.charge`; of any replica's job."""
        await self._ask(partial(self._charge, tag, usage))

    async def jobs(self, *states: LedgerState) -> tuple[JobRecord, ...]:
        """See `Ledger.jobs`; of all replicas."""
        return await self._ask(lambda connection: database.read_jobs(connection, *states))

    async def adopt(self, provider: str) -> tuple[JobRecord, ...]:
        """Takes over the provider's open jobs of replicas whose lease ran out or was given up."""
        adopted = await self._ask(self._owner(shared.adopt_jobs, provider, self._term_s))
        self._adopted.update(job.tag for job in adopted)
        return adopted

    async def read_owned(self, provider: str) -> tuple[JobRecord, ...]:
        """The provider's open jobs that are this replica's."""
        return await self._ask(self._owner(shared.read_owned, provider))

    def close(self) -> None:
        """Completes the queued writes, and gives the lease up. Does nothing in a forked child."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            if not self._refusal:
                self._refusal = "the ledger is closed"
                self._queue.put(Close())
        self._thread.join(CLOSE_S)
        self._lease.close(CLOSE_S)
        self._abort_write()

    async def _ask(
        self, work: Callable[[Connection], Records], *, intent: JobRecord | None = None
    ) -> Records:
        if os.getpid() != self._pid:
            raise LedgerError("the ledger was opened before this process was forked: open it again")
        future: asyncio.Future[Records] = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._refusal:
                raise LedgerError(self._refusal)
            self._queue.put(Request(work, future, intent))
        return await future

    # The methods below run on the writer's thread.

    def _begin(self, record: JobRecord, epoch: int, wait_ns: list[int], connection: Connection) -> Records:
        if not self._lease.epoch == self._held_epoch == epoch:
            raise LedgerBusyError("the lease ran out before the intent: the job is not submitted")
        limits = self._limits.get(record.provider, UNLIMITED)
        wait_ns.append(shared.write_intent(connection, record, limits, epoch, self._now_unix_s()))
        return ()

    def _move(
        self,
        tag: str,
        state: LedgerState,
        job_id: str,
        note: str,
        began_unix_s: list[float],
        connection: Connection,
    ) -> Records:
        is_repeated = bool(began_unix_s)
        began_unix_s.append(began_unix_s[0] if is_repeated else self._now_unix_s())
        shared.write_move(
            connection,
            tag,
            state,
            job_id=job_id,
            note=note,
            epoch=self._require_epoch(),
            now_unix_s=began_unix_s[0],
            is_repeated=is_repeated,
        )
        return ()

    def _charge(self, tag: str, usage: JobUsage, connection: Connection) -> Records:
        shared.write_charge(connection, tag, usage, self._now_unix_s())
        return ()

    def _owner(self, work: Callable[..., Records], provider: str, *words: float) -> Callable[..., Records]:
        return lambda connection: work(connection, provider, self._require_epoch(), *words)

    def _require_epoch(self) -> int:
        epoch = self._lease.epoch
        if epoch == NO_EPOCH:
            raise AdoptedError("the lease ran out: its jobs are left to the replica that adopts them")
        return epoch

    def _run_writer(self) -> None:
        group: list[Request[Connection]] = []
        reason = "the ledger's writer has ended"
        try:
            for group in take_groups(self._queue):
                self._write(group)
        finally:
            with self._lock:
                self._refusal = self._refusal or reason
            while not self._queue.empty():
                if isinstance(item := self._queue.get(), Request):
                    group.append(item)
            answer(group, [LedgerError(reason) for _ in group])
            if self._connection is not None:
                self._connection.close()

    def _write(self, group: list[Request[Connection]]) -> None:
        """Commits the group; after a lost connection all but the intents again, until the lease runs out."""
        while group:
            try:
                connection = self._connect()
                self._close_doubtful(connection)
                with database.transact(connection):
                    # The lease comes first, in the order of all replicas' locks.
                    epoch = self._lease.epoch
                    self._held_epoch = epoch if shared.hold_lease(connection, epoch) else NO_EPOCH
                    with connection.pipeline():  # only what a decision needs is waited for
                        answers = [request.run(connection) for request in group]
            except (psycopg.OperationalError, psycopg.InterfaceError, ShotclockError) as error:
                self._drop(group, database.reason(error))
            except Exception as error:  # noqa: BLE001 - the other requests of the group must go on
                self._isolate(group, error)
            else:
                answer(group, answers)
                group.clear()
        self._is_repeating = False

    def _connect(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = database.connect(self._url)
            self._socket = database.duplicate_socket(self._connection)
        return self._connection

    def _close_doubtful(self, connection: Connection) -> None:
        """An intent that was refused because its commit got no answer may be recorded all the same.

        Its transaction holds the provider's row until the server has ended it.
        """
        for tag, record in tuple(self._doubtful.items()):
            epoch = self._lease.epoch
            with contextlib.suppress(LedgerError), database.transact(connection):
                limits = self._limits.get(record.provider, UNLIMITED)
                shared.lock_provider(connection, record.provider, limits)
                shared.write_move(
                    connection,
                    tag,
                    LedgerState.FAILED,
                    job_id="",
                    note=NOT_SUBMITTED,
                    epoch=epoch,
                    now_unix_s=self._now_unix_s(),
                )
            del self._doubtful[tag]

    def _drop(self, group: list[Request[Connection]], why: str) -> None:
        """Refuses the intents, and everything once no lease is in force; then waits a little."""
        if self._connection is not None:
            self._connection.close()
        is_over = self._lease.epoch == NO_EPOCH or bool(self._refusal)
        refused = [request for request in group if request.intent or is_over]
        self._doubtful.update((request.intent.tag, request.intent) for request in refused if request.intent)
        error = LedgerBusyError(f"the ledger's database does not answer: {why}")
        answer(refused, [error if request.intent else AdoptedError(str(error)) for request in refused])
        group[:] = [request for request in group if request not in refused]
        self._is_repeating = bool(group)
        if group:
            time.sleep(PAUSE_S)

    def _isolate(self, group: list[Request[Connection]], error: Exception) -> None:
        """Of several requests each is tried alone; one that fails alone gets the error."""
        if len(group) > 1:
            for request in tuple(group):
                self._write([request])
        else:
            answer(group, [LedgerError(f"the ledger's database refused a write: {database.reason(error)}")])
        group.clear()

    def _abort_write(self) -> None:
        """Ends a write that waits for a server that will not answer. Called from the lease's thread."""
        database.shut_down(self._socket)


def _count(provider: str, limits: SharedLimits, counts: list[int], connection: Connection) -> Records:
    counts.append(shared.count_running(connection, provider, limits))
    return ()
