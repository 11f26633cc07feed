"""What a primitive makes of outcomes: samples, metadata, or the exception of a call without an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shotclock.domain.errors import CallError, CallFailedError, CallRefusedError, DeadlineExceeded
from shotclock.domain.outcome import DOES_NOT_FIT, CircuitOutcome, Executed, Failed, Late, Shed


def find_missing(outcomes: Sequence[CircuitOutcome]) -> CallError | None:
    """Why the first point without samples has none; None if all have some."""
    for outcome in outcomes:
        match outcome:
            case Executed():
                continue
            case Late(cause=cause):
                return DeadlineExceeded(f"no samples within the budget of {cause.budget_ns * 1e-9:g} s")
            case Shed(rejection=rejection) if rejection.limit in DOES_NOT_FIT:
                return DeadlineExceeded(f"not submitted, as it would miss its deadline: {rejection}")
            case Shed(rejection=rejection):
                return CallRefusedError(f"refused: {rejection}")
            case Failed(cause=cause):
                return CallFailedError(f"failed: {cause.message}")
    return None


def describe(outcomes: Sequence[CircuitOutcome]) -> dict[str, Any]:
    """The provenance of a PUB's outcomes, for its metadata.

    qpu_s is the PUB's share of its jobs' QPU time, seconds.
    """
    provenances = [outcome.provenance for outcome in outcomes]
    return {
        "degraded": False,
        "provider": provenances[0].provider,
        "emulated": any(provenance.emulated for provenance in provenances),
        "jobs": sorted({provenance.job_id for provenance in provenances}),
        "qpu_s": sum(provenance.qpu_s for provenance in provenances),
    }
