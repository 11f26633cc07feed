"""Requests to the thread that holds a ledger's connection, and its answers to the event loops that wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

from shotclock.domain.ledger import JobRecord, LedgerError

QUEUE_LIMIT = 1024
GROUP_LIMIT = 64
"""Writes per transaction, so that the first does not wait long for the last."""

Connection = TypeVar("Connection")
Records = tuple[JobRecord, ...]
_Answered = tuple[asyncio.Future[Records], Records | LedgerError]


@dataclass(frozen=True, slots=True, eq=False)
class Request(Generic[Connection]):
    """Work inside a transaction, and the future that waits for it. It raises LedgerError before it writes.

    intent: of the job that is submitted after it; None for everything else.
    """

    work: Callable[[Connection], Records]
    future: asyncio.Future[Records]
    intent: JobRecord | None = None

    def run(self, connection: Connection) -> Records | LedgerError:
        """The work's records, or the error that its caller gets."""
        try:
            return self.work(connection)
        except LedgerError as error:
            return error


class Close:
    """The last item of the queue."""


def take_groups(queue: SimpleQueue[Request[Connection] | Close]) -> Iterator[list[Request[Connection]]]:
    """Groups of what waits, each at least one request long but for the last; ends after `Close`."""
    items: list[Request[Connection] | Close] = []
    while not items or isinstance(items[-1], Request):
        items = [queue.get()]
        while len(items) < GROUP_LIMIT and not queue.empty():
            items.append(queue.get())
        yield [item for item in items if isinstance(item, Request)]


def answer(group: Sequence[Request[Connection]], answers: Sequence[Records | LedgerError]) -> None:
    """Resolves the waiting futures, with one call per event loop, since each call wakes it."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Answered]] = {}
    for request, result in zip(group, answers, strict=True):
        by_loop.setdefault(request.future.get_loop(), []).append((request.future, result))
    for loop, answered in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nothing waits
            loop.call_soon_threadsafe(_resolve, answered)


def _resolve(answered: list[_Answered]) -> None:
    for future, result in answered:
        if future.done():  # cancelled meanwhile
            continue
        if isinstance(result, LedgerError):
            future.set_exception(result)
        else:
            future.set_result(result)
