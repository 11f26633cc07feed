"""Searches again for parked jobs: adopts those that the provider lists by now, closes those never submitted.

Nothing is submitted here. `after_review` decides, without I/O; `review_parked` acts on it.
"""

from __future__ import annotations

from collections.abc import Callable

from shotclock.domain.ledger import JobRecord, LedgerState
from shotclock.domain.ports import Ledger, Provider
from shotclock.orchestrator.ledger.recovery import (
    PAUSE_S,
    SEARCH_LIMIT_S,
    Move,
    SearchResult,
    record_move,
    run_all,
    search_tags,
)


def after_review(result: SearchResult, parked_s: float, grace_s: float) -> Move | None:
    """The next state of a record that has been parked for parked_s, seconds; None where it stays parked."""
    match result:
        case (only,):
            return Move(LedgerState.SUBMITTED, "adopted by its tag while it was parked", only.job_id)
        case () if parked_s >= grace_s:
            why = f"never submitted: {parked_s:.0f} s after it was parked no job in the list has its tag"
            return Move(LedgerState.FAILED, why)
        case _:
            return None


async def review_parked(
    ledger: Ledger,
    provider: Provider,
    now_unix_s: Callable[[], float],
    *,
    grace_s: float,
    limit_s: float = SEARCH_LIMIT_S,
    pause_s: float = PAUSE_S,
) -> tuple[JobRecord, ...]:
    """Searches once for each parked record without a job id; returns the records of the jobs adopted.

    grace_s: how long a job may be missing from the provider's list, seconds.
    limit_s: limit of each search.
    pause_s: pause after a transient fault.
    Does nothing where the provider's list does not show every job. Raises LedgerError.
    """
    if not provider.limits.lists_jobs:
        return ()
    search = search_tags(provider, limit_s, pause_s)

    async def review(record: JobRecord) -> LedgerState:
        result = await search(record.tag)
        move = after_review(result, now_unix_s() - record.changed_unix_s, grace_s)
        if move is None:
            return LedgerState.PARKED
        await record_move(ledger, record, move)
        return move.state

    parked = await ledger.jobs(LedgerState.PARKED)
    # A record with a job id was submitted: what is unknown is how the job ended.
    unknown = tuple(record for record in parked if record.provider == provider.name and not record.job_id)
    await run_all(review, unknown)
    tags = {record.tag for record in unknown}
    return tuple(record for record in await ledger.jobs(LedgerState.SUBMITTED) if record.tag in tags)
