"""The process that worker processes are forked from, and the loop that each of them runs.

Its imports are done, so a new worker takes milliseconds and no caller's core. It runs no caller's work, and
has one thread: the locks of other threads would stay held in a fork of it.
"""

from __future__ import annotations

import gc
import logging
import os
import pickle
import resource
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import recv_handle
from pathlib import Path
from typing import Any, Literal

MIB = 1024 * 1024
BEGUN = b"begun"
"""Says that a worker has its work: one that ends before it may be replaced and the work be sent again."""
PAGE = resource.getpagesize()
MOST_LOG_LINES = 20
MOST_LOG_CHARACTERS = 2000

Work = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What one worker process may take.

    memory_mib: data beyond what its imports took.
    cpu_s: processor time of one piece of work, a backstop for the limits that its owner keeps.
    niceness: how far it gives way to other processes.
    """

    memory_mib: int
    cpu_s: float
    niceness: int = 0


@dataclass(frozen=True, slots=True)
class Prepare:
    """Run this in the server, so that every later worker has it in memory."""

    work: Work


@dataclass(frozen=True, slots=True)
class Fork:
    """Fork a worker; its end of a pipe follows."""

    limits: WorkerLimits


@dataclass(frozen=True, slots=True)
class Reap:
    """Wait for a worker that has ended."""

    pid: int


@dataclass(frozen=True, slots=True)
class LogLine:
    """What a piece of work logged, for its owner to log: the logger's name, a level, a formatted message."""

    logger: str
    level: int
    message: str


@dataclass(frozen=True, slots=True)
class WorkerReply:
    """What became of a piece of work.

    kind: whether it returned, raised, or needed more memory than it may take.
    value: what it returned or raised.
    is_last: whether the worker ends after it.
    log: its warnings and errors.
    """

    kind: Literal["done", "raised", "memory"]
    value: Any
    is_last: bool = False
    log: tuple[LogLine, ...] = ()


class _Collector(logging.Handler):
    """Holds what was logged since it was last emptied; the first of many lines."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: list[LogLine] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._lines) < MOST_LOG_LINES:
            self._lines.append(
                LogLine(record.name, record.levelno, record.getMessage()[:MOST_LOG_CHARACTERS])
            )

    def empty(self) -> tuple[LogLine, ...]:
        """The lines, in order, and none of them again."""
        lines, self._lines = tuple(self._lines), []
        return lines


def main(control: int, owner: int) -> None:
    """Serves the owner, by its process id, until either ends."""
    logging.disable(logging.WARNING)  # of its imports: the owner has the same to say, once
    connection = Connection(control)
    alive = _watch(owner)
    while True:
        if connection not in wait([connection, *alive]):
            os._exit(1)
        try:
            command = connection.recv()
        except (EOFError, OSError):
            os._exit(0)
        match command:
            case Prepare(work):
                connection.send(_prepare(work))
            case Fork(limits):
                connection.send(_fork(connection, alive, limits))
            case Reap(pid):
                connection.send(os.waitpid(pid, 0)[1])


def _watch(owner: int) -> tuple[int, ...]:
    """What becomes readable when the owner ends; its end of a pipe may be held open by its other forks."""
    alive: tuple[int, ...] = ()
    with suppress(AttributeError, OSError):  # no Linux 5.3
        alive = (os.pidfd_open(owner),)
    if os.getppid() != owner:
        os._exit(1)
    return alive


def _prepare(work: Work) -> str:
    """Why it failed, "" where it did not; the work that needs it will raise that again."""
    function, arguments, keywords = work
    try:
        function(*arguments, **keywords)
    except Exception as error:  # noqa: BLE001 - reported
        return f"{type(error).__name__}: {error}"
    # a collection in a worker would write to every page that it shares with this process
    gc.collect()
    gc.freeze()
    return ""


def _fork(control: Connection, alive: tuple[int, ...], limits: WorkerLimits) -> int | OSError:
    """The worker's process id, or the reason that it could not be started."""
    handle = recv_handle(control)
    try:
        pid = os.fork()
    except OSError as error:
        os.close(handle)
        return error
    if pid:
        os.close(handle)
        return pid
    try:
        control.close()
        _work(Connection(handle), alive, limits)
    finally:
        os._exit(1)


def _work(connection: Connection, alive: tuple[int, ...], limits: WorkerLimits) -> None:
    os.nice(limits.niceness)
    base = _data_bytes()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit(resource.RLIMIT_DATA, base + limits.memory_mib * MIB)
    if alive:
        threading.Thread(target=_end_with_the_owner, args=alive, daemon=True).start()
    collector = _Collector()
    logging.getLogger().handlers = [collector]
    logging.disable(logging.NOTSET)
    while True:
        try:
            payload = connection.recv_bytes()
            connection.send_bytes(BEGUN)
        except (EOFError, OSError):
            os._exit(0)
        _limit(resource.RLIMIT_CPU, int(time.process_time() + limits.cpu_s) + 1)
        reply = _answer(payload)
        # what it keeps would be missing from the next piece's memory
        has_grown = _data_bytes() > base + limits.memory_mib * MIB // 2
        is_last = has_grown or reply.kind == "memory"
        connection.send_bytes(_encode(WorkerReply(reply.kind, reply.value, is_last, collector.empty())))
        if is_last:
            os._exit(0)


def _answer(payload: bytes) -> WorkerReply:
    try:
        function, arguments, keywords = pickle.loads(payload)  # noqa: S301 - the owner's
        return WorkerReply("done", function(*arguments, **keywords))
    except MemoryError:
        return WorkerReply("memory", None)
    except BaseException as error:  # noqa: BLE001 - raised again by the owner; a Rust panic does not derive from Exception
        return WorkerReply("raised", error)


def _encode(reply: WorkerReply) -> bytes:
    try:
        encoded = pickle.dumps(reply)
        if reply.kind == "raised":
            pickle.loads(encoded)  # noqa: S301 - one that cannot be read back is found here
    except MemoryError:
        return pickle.dumps(WorkerReply("memory", None, True, reply.log))
    except Exception:  # noqa: BLE001 - whatever an object's own pickling raises
        description = RuntimeError(f"{type(reply.value).__name__}: {reply.value}"[:1000])
        return pickle.dumps(WorkerReply("raised", description, reply.is_last, reply.log))
    return encoded


def _limit(kind: int, soft: int) -> None:
    """Lowers the soft limit, within the hard one that this process was given."""
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _data_bytes() -> int:
    """What RLIMIT_DATA counts: private writable memory, reserved or in use."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[5]) * PAGE
    except OSError:
        return 0


def _end_with_the_owner(alive: int) -> None:
    select.select([alive], [], [])
    os._exit(1)
