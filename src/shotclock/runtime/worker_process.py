"""The owner's side of worker processes: the fork server, and one worker behind a pipe."""

from __future__ import annotations

import json
import multiprocessing.spawn
import os
import pickle
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from typing import Any

from shotclock.domain.errors import WorkerError, WorkerFault
from shotclock.runtime.fork_server import Fork, Prepare, Reap, Work, WorkerLimits, WorkerReply

# Libraries' own threads would outlive a fork as locks that nobody releases, and take cores from callers.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "QISKIT_PARALLEL": "FALSE",
    "QISKIT_IN_PARALLEL": "TRUE",
}
SERVER = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
import json
sys.path[:] = json.loads(sys.argv[3])
from shotclock.runtime.fork_server import main
main(int(sys.argv[1]), int(sys.argv[2]))
"""
STOP_LIMIT_S = 2.0
BUSY_S = 0.5
"""A fork takes milliseconds, so who takes longer loads what workers are to find."""


class GoneError(Exception):
    """A worker ended before it had its work."""


class EndedError(Exception):
    """A worker ended in the middle of its work."""


class OverTimeError(Exception):
    """A piece of work took longer than it may."""


class ForkServer:
    """Starts with its first use and again when it was lost; may be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: Connection | None = None
        self._prepared: list[bytes] = []
        self._closed = False
        self.failure = ""
        """Why no worker can be started, "" while they can."""

    def fork(self, limits: WorkerLimits, prepare: tuple[Work, ...] = ()) -> WorkerProcess:
        """A new worker, after what it is to find in memory. Raises WorkerError."""
        try:
            with self._lock:
                started = self._fork_again(limits, prepare)
        except (OSError, EOFError) as error:
            self.failure = f"no worker process can be started: {error or 'the server of forks ended'}"
            raise WorkerError(WorkerFault.START, self.failure, 1, 0, "worker processes", 1.0) from error
        self.failure = ""
        return started

    def reap(self, pid: int) -> int | None:
        """The wait status of a worker that has ended; None where its server ended first."""
        with self._lock, suppress(OSError, EOFError):
            status = self._ask(Reap(pid))
            return status if isinstance(status, int) else None
        return None

    def stop(self) -> None:
        """Forks no more; one that is being prepared is given up."""
        self._closed = True
        if self._lock.acquire(timeout=BUSY_S):
            self._lock.release()
        elif self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """Ends the server, which holds nothing; whoever waits for its answer sees its end."""
        self._closed = True
        process = self._process
        if process is None:
            return
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_LIMIT_S)

    def _fork_again(self, limits: WorkerLimits, prepare: tuple[Work, ...]) -> WorkerProcess:
        """One that was killed meanwhile is replaced once."""
        try:
            return self._fork(limits, prepare)
        except (OSError, EOFError):
            if self._closed or self._process is None or self._process.poll() is None:
                raise
            return self._fork(limits, prepare)

    def _fork(self, limits: WorkerLimits, prepare: tuple[Work, ...]) -> WorkerProcess:
        if self._closed:
            raise OSError("the workers are closed")
        if self._process is None or self._process.poll() is not None:
            self._start()
        for work in prepare:
            payload = pickle.dumps(work)
            if payload not in self._prepared:
                self._ask(Prepare(work))
                self._prepared.append(payload)
        if self._control is None or self._process is None:
            raise OSError("the server of forks is not running")
        ours, theirs = Pipe()
        with theirs:
            self._control.send(Fork(limits))
            send_handle(self._control, theirs.fileno(), self._process.pid)
            answer = self._control.recv()
        if isinstance(answer, OSError):
            ours.close()
            raise answer
        return WorkerProcess(self, int(answer), ours)

    def _ask(self, command: Prepare | Reap) -> Any:
        if self._control is None:
            raise OSError("the server of forks is not running")
        self._control.send(command)
        return self._control.recv()

    def _start(self) -> None:
        if self._control is not None:
            self._control.close()
        self._prepared = []
        self._control, theirs = Pipe()
        with theirs:
            fd = theirs.fileno()
            command = [os.fsdecode(multiprocessing.spawn.get_executable()), "-P", "-c", SERVER]
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, our own text
                [*command, str(fd), str(os.getpid()), json.dumps(sys.path)],
                pass_fds=(fd,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, **ONE_THREAD},
            )
        if self._closed:  # meanwhile
            self._process.kill()


class WorkerProcess:
    """One worker, used by one thread; `kill` may be called from any."""

    def __init__(self, server: ForkServer, pid: int, connection: Connection) -> None:
        self.pid = pid
        self._server = server
        self._connection = connection
        try:
            self._handle = os.pidfd_open(pid)
        except (AttributeError, OSError):
            self._handle = -1

    def call(self, work: Work, limit_s: float) -> WorkerReply:
        """The reply. Raises GoneError, EndedError, OverTimeError, and what pickling the work raises."""
        payload = pickle.dumps(work)
        try:
            self._connection.send_bytes(payload)
            self._receive(limit_s)
        except (EOFError, OSError) as error:
            raise GoneError from error
        try:
            encoded = self._receive(limit_s)
        except (EOFError, OSError) as error:
            raise EndedError from error
        reply: WorkerReply = pickle.loads(encoded)  # noqa: S301 - our own process's
        return reply

    def _receive(self, limit_s: float) -> bytes:
        if not self._connection.poll(limit_s):
            raise OverTimeError
        return self._connection.recv_bytes()

    def kill(self) -> None:
        """Ends it at once, whatever it does."""
        with suppress(OSError):
            if self._handle >= 0:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)

    def end(self) -> int | None:
        """Kills it, waits until it is gone and returns its wait status; used no more after that."""
        self.kill()
        status = self._server.reap(self.pid)
        self._connection.close()
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        return status
