"""What a primitive makes of outcomes: samples, metadata, or the exception of a call without an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shotclock.domain.call_errors import explain_missing
from shotclock.domain.errors import CallError
from shotclock.domain.outcome import CircuitOutcome


def find_missing(outcomes: Sequence[CircuitOutcome]) -> CallError | None:
    """Why the first point without samples has none; None if all have some."""
    return next((error for outcome in outcomes if (error := explain_missing(outcome)) is not None), None)


def describe(outcomes: Sequence[CircuitOutcome]) -> dict[str, Any]:
    """The provenance of a PUB's outcomes, for its metadata.

    qpu_s is the PUB's share of its jobs' QPU time, seconds. A PUB that needed no circuit, such as the
    expectation of the identity, has no provider.
    """
    provenances = [outcome.provenance for outcome in outcomes]
    metadata: dict[str, Any] = {
        "degraded": False,
        "jobs": sorted({provenance.job_id for provenance in provenances}),
        "qpu_s": sum((provenance.qpu_s for provenance in provenances), 0.0),
    }
    if provenances:
        metadata["provider"] = provenances[0].provider
        metadata["emulated"] = any(provenance.emulated for provenance in provenances)
    return metadata
