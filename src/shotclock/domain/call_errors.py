"""The exception of a call that has no answer, for callers who do not match outcomes."""

from __future__ import annotations

from shotclock.domain.errors import CallError, CallFailedError, CallRefusedError, DeadlineExceeded
from shotclock.domain.outcome import DOES_NOT_FIT, Degraded, Done, Executed, Failed, Late, Shed


def explain_missing(outcome: Done | Degraded | Executed | Shed | Late | Failed) -> CallError | None:
    """Why there is no answer; None where there is one."""
    match outcome:
        case Done() | Degraded() | Executed():
            return None
        case Late(cause=cause):
            return DeadlineExceeded(f"no samples within the budget of {cause.budget_ns * 1e-9:g} s")
        case Shed(rejection=rejection) if rejection.limit in DOES_NOT_FIT:
            return DeadlineExceeded(f"not submitted, as it would miss its deadline: {rejection}")
        case Shed(rejection=rejection):
            return CallRefusedError(f"refused: {rejection}")
        case Failed(cause=cause):
            return CallFailedError(f"failed: {cause.message}")
