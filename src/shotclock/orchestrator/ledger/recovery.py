"""Closes the records of paid jobs that a stop left open: adopts them by their tag, collects or parks them.

Nothing is submitted here. `after_search` and `after_wait` decide, without I/O, what a search and a wait mean;
`recover` and `collect_left` carry it out.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from shotclock.domain.accounting import UNKNOWN_USAGE
from shotclock.domain.errors import FaultKind, JobEndedError, ProviderError
from shotclock.domain.ledger import JobRecord, LedgerState
from shotclock.domain.ports import Accepted, Execution, Ledger, Provider
from shotclock.orchestrator.ledger.charges import read_usage
from shotclock.orchestrator.ledger.transitions import AdoptedError
from shotclock.orchestrator.provider_answers import answer_of

T = TypeVar("T")

SEARCH_LIMIT_S = 30.0
"""For one search by tag, because the start waits for it."""
SEARCHES_AT_ONCE = 8
"""A vendor limits requests, and a start after a crash under load has dozens of open intents."""
COLLECT_LIMIT_S = 3_600.0
"""For one result: a public queue may be long, and no caller waits."""
LIST_GRACE_S = 5.0
"""How long a starting service repeats a search, because a vendor's list may lag behind a submit."""
PAUSE_S = 1.0
"""Between a transient fault and the next attempt."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """The provider did not answer within limit_s, seconds; last: its last transient fault, or ""."""

    limit_s: float
    last: str = ""


SearchResult = tuple[Accepted, ...] | ProviderError | Overdue
"""The jobs that a provider lists under a tag, or why it did not say."""


@dataclass(frozen=True, slots=True)
class Move:
    """A record's next state."""

    state: LedgerState
    note: str
    job_id: str = ""


@dataclass(frozen=True, slots=True)
class Recovered:
    """The outcome of a recovery.

    adopted: records whose job was found by its tag.
    parked: records that a person must decide on.
    settled: records closed for good, as stale or failed.
    submitted: records whose jobs are still with the provider, for `collect_left`.
    """

    adopted: int = 0
    parked: int = 0
    settled: int = 0
    submitted: tuple[JobRecord, ...] = ()


LEFT_OVER = Move(LedgerState.STALE, "no decision was recorded before the stop")


def after_search(result: SearchResult) -> Move:
    """The next state of an intent after a search by tag: a single job is adopted, anything else is parked."""
    match result:
        case (only,):
            return Move(LedgerState.SUBMITTED, "adopted by its tag after a stop", only.job_id)
        case ():
            # Not proof that nothing was submitted: the submit may still be on its way.
            why = "no job carries this tag, or not yet"
        case Overdue():
            why = f"the search for its tag had no answer within {_limit(result)}"
        case ProviderError():
            why = f"the search for its tag failed: {result}"
        case _:
            # A tag is used once, so the vendor repeated the submit: all but one cost money for nothing.
            ids = ", ".join(accepted.job_id for accepted in result)
            why = f"{len(result)} jobs carry this tag: {ids}"
    return Move(LedgerState.PARKED, why)


def after_wait(ended: Execution | ProviderError | Overdue) -> tuple[Move, ...]:
    """The next states of a submitted job's record after the wait for its result, in order."""
    match ended:
        case Execution():
            # The model has moved on without these samples, so no caller can apply them.
            return Move(LedgerState.RESULT, "collected after a stop"), Move(
                LedgerState.STALE, "its caller no longer waits"
            )
        case JobEndedError() | ProviderError(kind=FaultKind.PERMANENT):
            return (Move(LedgerState.FAILED, str(ended)),)
        case ProviderError():
            # The job may still be running and costing money; only a person can find out.
            return (Move(LedgerState.PARKED, f"outcome unknown: {ended}"),)
        case Overdue():
            return (Move(LedgerState.PARKED, f"no result within {_limit(ended)} of the start"),)


async def recover(
    ledger: Ledger,
    provider: Provider,
    *,
    limit_s: float = SEARCH_LIMIT_S,
    pause_s: float = PAUSE_S,
    grace_s: float = 0.0,
) -> Recovered:
    """Adopts, closes or parks every open record; to be awaited before any call is accepted.

    limit_s: limit of each search.
    pause_s: pause after a transient fault.
    grace_s: how long the search for a job that is not found is repeated.
    Raises LedgerError.
    """
    search = search_tags(provider, limit_s, pause_s)

    async def settle(record: JobRecord) -> LedgerState:
        # A RESULT without a decision: the process that knew whether it was applied has ended.
        move = LEFT_OVER
        if record.state is LedgerState.INTENT:
            move = after_search(await _until_listed(partial(search, record.tag), pause_s, grace_s))
        await record_move(ledger, record, move)
        return move.state

    open_records = await _open_records(ledger, provider)
    states = Counter(await run_all(settle, open_records))
    submitted = await ledger.jobs(LedgerState.SUBMITTED)
    return Recovered(
        states[LedgerState.SUBMITTED],
        states[LedgerState.PARKED],
        states[LedgerState.STALE],
        tuple(record for record in submitted if record.provider == provider.name),
    )


async def collect_left(
    ledger: Ledger,
    provider: Provider,
    submitted: tuple[JobRecord, ...],
    *,
    limit_s: float = COLLECT_LIMIT_S,
    pause_s: float = PAUSE_S,
) -> Recovered:
    """Collects jobs that no caller waits for and closes their records; runs while the service does.

    limit_s: limit of each job. If cancelled, the next start continues. Raises LedgerError.
    """

    async def close(record: JobRecord) -> LedgerState:
        accepted = Accepted(record.job_id, shots=record.shots)
        ended = await _answer(provider, "collect", partial(provider.collect, accepted), limit_s, pause_s)
        moves = after_wait(ended)
        for move in moves:
            await record_move(ledger, record, move)
        if isinstance(ended, Execution) and (usage := read_usage(provider, ended)) != UNKNOWN_USAGE:
            await ledger.charge(record.tag, usage)
        return moves[-1].state

    parked = (await run_all(close, submitted)).count(LedgerState.PARKED)
    return Recovered(parked=parked, settled=len(submitted) - parked)


def search_tags(
    provider: Provider, limit_s: float, pause_s: float
) -> Callable[[str], Awaitable[SearchResult]]:
    """A search by tag, of which SEARCHES_AT_ONCE run at once and each for limit_s, seconds."""
    at_once = asyncio.Semaphore(SEARCHES_AT_ONCE)

    async def search(tag: str) -> SearchResult:
        async with at_once:
            return await _answer(provider, "find", partial(provider.find, tag), limit_s, pause_s)

    return search


async def _until_listed(
    search: Callable[[], Awaitable[SearchResult]],
    pause_s: float,
    grace_s: float,
) -> SearchResult:
    """The result of the search, repeated for grace_s while it finds nothing."""
    loop = asyncio.get_running_loop()
    until = loop.time() + grace_s
    while True:
        result = await search()
        if result != () or loop.time() >= until:
            return result
        await asyncio.sleep(min(pause_s, grace_s))


async def run_all(
    work: Callable[[JobRecord], Coroutine[Any, Any, LedgerState]], records: tuple[JobRecord, ...]
) -> list[LedgerState]:
    """The work's result for every record, run concurrently; raises the first error alone."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work(record)) for record in records]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed
    return [task.result() for task in tasks]


async def _open_records(ledger: Ledger, provider: Provider) -> tuple[JobRecord, ...]:
    records = await ledger.jobs(LedgerState.INTENT, LedgerState.RESULT)
    return tuple(record for record in records if record.provider == provider.name)


async def _answer(
    provider: Provider, what: str, ask: Callable[[], Awaitable[T]], limit_s: float, pause_s: float
) -> T | ProviderError | Overdue:
    """The provider's answer; the request is repeated after transient faults, up to the limit."""
    last = ""
    try:
        async with asyncio.timeout(limit_s):
            while True:
                try:
                    return await answer_of(provider.name, what, ask())
                except JobEndedError as error:
                    return error
                except ProviderError as error:
                    if error.kind is not FaultKind.TRANSIENT:
                        return error
                    last, wait_s = str(error), max(pause_s, error.retry_after_s)
                await asyncio.sleep(wait_s)
    except TimeoutError:
        return Overdue(limit_s, last)


async def record_move(ledger: Ledger, record: JobRecord, move: Move) -> None:
    """Writes a record's next state, unless another replica owns the job by now. Raises LedgerError."""
    with suppress(AdoptedError):
        await ledger.move(record.tag, move.state, job_id=move.job_id, note=move.note)


def _limit(overdue: Overdue) -> str:
    last = f" (last: {overdue.last})" if overdue.last else ""
    return f"{overdue.limit_s:g} s{last}"
