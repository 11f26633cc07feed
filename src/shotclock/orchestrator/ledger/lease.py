"""The lease of a replica: while it lasts, its jobs are its own to submit; after it, others adopt them.

A lease that ran out by this process's clock is never renewed, even if nobody has ended it: the next one has a
larger epoch. So a process that was stopped for longer than its lease cannot go on where it was.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable

import psycopg

from shotclock.domain.errors import ShotclockError
from shotclock.orchestrator.ledger import database, shared
from shotclock.orchestrator.ledger.shared import NO_EPOCH

RENEWALS = 4
"""A term: a renewal that is lost leaves time for two more."""
SAFE = 0.9
"""Share of a term that this process relies on, because two clocks do not run equally fast."""
PAUSE_S = 0.1
"""Between two attempts to reach the server."""


def read_clock_s() -> float:
    """Seconds that pass also while the machine is suspended, where the system has such a clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Lease:
    """Takes a lease at once and renews it on a thread until it is closed.

    incarnation: the host, the process id and a random number, so that no other process ever has it.
    term_s: how long it lasts without a renewal, seconds.
    on_lapse: called on the thread when a lease has run out.
    Raises as `database.open_to_write`, and MachineError.
    """

    def __init__(
        self,
        url: str,
        term_s: float,
        on_lapse: Callable[[], None],
        clock_s: Callable[[], float] = read_clock_s,
    ) -> None:
        self.incarnation = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(8).hex()}"
        self._url = url
        self._term_s = term_s
        self._on_lapse = on_lapse
        self._clock_s = clock_s
        self._last_epoch = NO_EPOCH
        self._in_force = (NO_EPOCH, 0.0)
        self._ended = threading.Event()
        with database.translate_errors(url):
            self._connection = database.open_to_write(url, self._application)
            self._take(self._connection)
        self._thread = threading.Thread(target=self._keep, name="shotclock-lease", daemon=True)
        self._thread.start()

    @property
    def epoch(self) -> int:
        """That of the lease in force; NO_EPOCH without one."""
        epoch, until_s = self._in_force
        return epoch if self._clock_s() < until_s else NO_EPOCH

    def close(self, limit_s: float) -> None:
        """Ends the lease, so that what it owns is adopted at once; gives up after the limit, seconds."""
        self._ended.set()
        self._thread.join(limit_s)

    @property
    def _application(self) -> str:
        return f"shotclock-lease {self.incarnation}"

    def _take(self, connection: database.Connection) -> None:
        began_s = self._clock_s()
        self._last_epoch = shared.take_lease(connection, self.incarnation, self._term_s, self._last_epoch)
        self._in_force = (self._last_epoch, began_s + SAFE * self._term_s)

    def _renew(self, connection: database.Connection) -> None:
        began_s = self._clock_s()
        epoch = self.epoch
        if epoch == NO_EPOCH:
            self._lapse()
            self._take(connection)
        elif shared.renew_lease(connection, epoch, self._term_s):
            # A stop between the two lines lets the old instant pass, which must not be undone.
            if self.epoch == epoch:
                self._in_force = (epoch, began_s + SAFE * self._term_s)
        else:
            self._lapse()

    def _lapse(self) -> None:
        if self._in_force[0] != NO_EPOCH:
            self._in_force = (NO_EPOCH, 0.0)
            self._on_lapse()

    def _keep(self) -> None:
        connection: database.Connection | None = self._connection
        wait_s = self._term_s / RENEWALS
        while not self._ended.wait(wait_s):
            wait_s = self._term_s / RENEWALS
            try:
                if connection is None or connection.closed:
                    connection = database.connect(self._url, self._application)
                self._renew(connection)
                if self.epoch == NO_EPOCH:
                    wait_s = 0.0
            except (psycopg.Error, ShotclockError):
                wait_s = min(PAUSE_S, wait_s)
                if connection is not None:
                    connection.close()
                if self.epoch == NO_EPOCH:
                    self._lapse()
        if connection is not None and not connection.closed:
            with contextlib.suppress(psycopg.Error), contextlib.closing(connection):
                shared.end_lease(connection, self._last_epoch)
        self._in_force = (NO_EPOCH, 0.0)
