"""What becomes of paid jobs that a stop left open: adopted by their tag, collected, or parked.

Nothing is submitted here. What a search and a wait mean is decided by `after_search` and `after_wait`;
`recover` and `collect_left` do it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from shotclock.domain.errors import FaultKind, JobEndedError, ProviderError
from shotclock.domain.ledger import JobRecord, LedgerState
from shotclock.domain.ports import Accepted, Execution, Ledger, Provider
from shotclock.orchestrator.provider_answers import answer_of

T = TypeVar("T")

SEARCH_LIMIT_S = 30.0
"""For one search by tag: the start waits for it."""
SEARCHES_AT_ONCE = 8
"""A vendor's front door limits requests; a start after a crash under load has dozens of intents."""
COLLECT_LIMIT_S = 3_600.0
"""For one result: a public queue may be long, and nobody waits."""
LIST_GRACE_S = 5.0
"""A vendor's list may lag behind a submit: for so long a service that starts looks again for a job."""
PAUSE_S = 1.0
"""Between a transient fault and the next try."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """The provider did not answer within the limit, seconds; `last`: its last transient fault, or ""."""

    limit_s: float
    last: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """A record's next state."""

    state: LedgerState
    note: str
    job_id: str = ""


@dataclass(frozen=True, slots=True)
class Recovered:
    """How many records were adopted by their tag, parked, and settled for good (stale or failed).

    submitted: those still with the provider, for `collect_left`.
    """

    adopted: int = 0
    parked: int = 0
    settled: int = 0
    submitted: tuple[JobRecord, ...] = ()


LEFT_OVER = Move(LedgerState.STALE, "no decision was recorded before the stop")


def after_search(found: tuple[Accepted, ...] | ProviderError | Overdue) -> Move:
    """What a search by tag says of an intent: its one job is adopted; anything else is for a person.

    No job is not proof that nothing was submitted: the submit may still be on its way.
    """
    match found:
        case (only,):
            return Move(LedgerState.SUBMITTED, "adopted by its tag after a stop", only.job_id)
        case ():
            why = "no job carries this tag, or not yet"
        case Overdue():
            why = f"the search for its tag had no answer within {_limit(found)}"
        case ProviderError():
            why = f"the search for its tag failed: {found}"
        case _:
            ids = ", ".join(one.job_id for one in found)
            why = f"{len(found)} jobs carry this tag: {ids}"
    return Move(LedgerState.PARKED, why)


def after_wait(ended: Execution | ProviderError | Overdue) -> tuple[Move, ...]:
    """What the end of the wait for a submitted job makes of its record, one state after the other."""
    match ended:
        case Execution():
            return Move(LedgerState.RESULT, "collected after a stop"), Move(
                LedgerState.STALE, "its caller had gone"
            )
        case JobEndedError() | ProviderError(kind=FaultKind.PERMANENT):
            return (Move(LedgerState.FAILED, str(ended)),)
        case ProviderError():
            return (Move(LedgerState.PARKED, f"unclear what became of it: {ended}"),)
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
    """Settles what can be settled at once; to be awaited before any call is accepted.

    limit_s: for each search; pause_s: after a transient fault; grace_s: for a job that is not found, which
    is searched for again. Raises LedgerError.
    """
    at_once = asyncio.Semaphore(SEARCHES_AT_ONCE)

    async def search(tag: str) -> tuple[Accepted, ...] | ProviderError | Overdue:
        async with at_once:
            return await _answer(provider, "find", partial(provider.find, tag), limit_s, pause_s)

    async def settle(record: JobRecord) -> LedgerState:
        move = LEFT_OVER
        if record.state is LedgerState.INTENT:
            move = after_search(await _until_listed(partial(search, record.tag), pause_s, grace_s))
        await _make(ledger, record, move)
        return move.state

    left = await _open_records(ledger, provider)
    states = Counter(await _all(settle, left))
    submitted = await ledger.jobs(LedgerState.SUBMITTED)
    return Recovered(
        states[LedgerState.SUBMITTED],
        states[LedgerState.PARKED],
        states[LedgerState.STALE],
        tuple(one for one in submitted if one.provider == provider.name),
    )


async def collect_left(
    ledger: Ledger,
    provider: Provider,
    submitted: tuple[JobRecord, ...],
    *,
    limit_s: float = COLLECT_LIMIT_S,
    pause_s: float = PAUSE_S,
) -> Recovered:
    """Collects jobs whose callers have gone and closes their records; to be run beside the service.

    limit_s: for each job; cancelled, it leaves the rest for the next start. Raises LedgerError.
    """

    async def close(record: JobRecord) -> LedgerState:
        accepted = Accepted(record.job_id, shots=record.shots)
        ended = await _answer(provider, "collect", partial(provider.collect, accepted), limit_s, pause_s)
        moves = after_wait(ended)
        for move in moves:
            await _make(ledger, record, move)
        return moves[-1].state

    parked = (await _all(close, submitted)).count(LedgerState.PARKED)
    return Recovered(parked=parked, settled=len(submitted) - parked)


async def _until_listed(
    search: Callable[[], Awaitable[tuple[Accepted, ...] | ProviderError | Overdue]],
    pause_s: float,
    grace_s: float,
) -> tuple[Accepted, ...] | ProviderError | Overdue:
    """What the search finds in the end, while it finds nothing."""
    loop = asyncio.get_running_loop()
    until = loop.time() + grace_s
    while True:
        found = await search()
        if found != () or loop.time() >= until:
            return found
        await asyncio.sleep(min(pause_s, grace_s))


async def _all(
    work: Callable[[JobRecord], Coroutine[Any, Any, LedgerState]], records: tuple[JobRecord, ...]
) -> list[LedgerState]:
    """Every record's end, all at once; the first error is raised by itself."""
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
    """What the provider says in the end; after transient faults it is asked again, up to the limit."""
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


async def _make(ledger: Ledger, record: JobRecord, move: Move) -> None:
    await ledger.move(record.tag, move.state, job_id=move.job_id, note=move.note)


def _limit(overdue: Overdue) -> str:
    last = f" (last: {overdue.last})" if overdue.last else ""
    return f"{overdue.limit_s:g} s{last}"
