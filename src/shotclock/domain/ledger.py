"""The record of paid jobs: nothing is submitted before its intent is durable."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from shotclock.domain.accounting import JobAccount
from shotclock.domain.errors import ShotclockError


class LedgerState(StrEnum):
    """States of a paid call's record; `NEXT_STATES` are the legal moves."""

    INTENT = "intent"
    SUBMITTED = "submitted"
    RESULT = "result"
    APPLIED = "applied"
    STALE = "stale"
    FAILED = "failed"
    PARKED = "parked"


NEXT_STATES: dict[LedgerState, frozenset[LedgerState]] = {
    LedgerState.INTENT: frozenset({LedgerState.SUBMITTED, LedgerState.FAILED, LedgerState.PARKED}),
    LedgerState.SUBMITTED: frozenset({LedgerState.RESULT, LedgerState.FAILED, LedgerState.PARKED}),
    LedgerState.RESULT: frozenset({LedgerState.APPLIED, LedgerState.STALE}),
    LedgerState.APPLIED: frozenset(),
    LedgerState.STALE: frozenset(),
    LedgerState.FAILED: frozenset(),
    LedgerState.PARKED: frozenset({LedgerState.SUBMITTED, LedgerState.FAILED}),
}

TERMINAL = frozenset({LedgerState.APPLIED, LedgerState.STALE, LedgerState.FAILED, LedgerState.PARKED})
"""Where a record rests; a parked one waits for a person, who may still move it."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A paid job as the ledger holds it.

    tag: ours, unique for ever, submitted with the job.
    provider: the provider's name.
    requests: the request ids of the calls it answers.
    shots: shots of the job.
    state: where the record is; see `NEXT_STATES`.
    job_id: the provider's, "" until it is known.
    note: why it is where it is; "" without a reason to give.
    changed_unix_s: when it came there, Unix time in seconds, for people; 0 before the ledger has recorded it.
    account: of a new intent: whom it is for and what it will cost; without one, nothing is accounted.
    """

    tag: str
    provider: str
    requests: tuple[str, ...]
    shots: int
    state: LedgerState = LedgerState.INTENT
    job_id: str = ""
    note: str = ""
    changed_unix_s: float = 0.0
    account: JobAccount | None = field(default=None, compare=False)


class LedgerError(ShotclockError):
    """The ledger cannot keep its promise, or was asked for a move that is not legal: nothing may be paid."""
