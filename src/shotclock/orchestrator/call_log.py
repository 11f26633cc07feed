"""A line at debug for each call that is accepted and each that ends, by its request id."""

from __future__ import annotations

import logging

from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.outcome import CircuitOutcome, Degraded, Outcome, Shed, why_no_samples
from shotclock.orchestrator.call import Call

log = logging.getLogger(__name__)


def log_accepted(call: Call) -> None:
    """The call waits for a job."""
    if log.isEnabledFor(logging.DEBUG):
        log.debug("call accepted", extra={"request_id": call.work.request_id, "caller": call.caller})


def log_cancellation(request_id: str, caller: str, duration_ns: int) -> None:
    """The caller gave the call up, or its gRPC deadline passed before the answer left."""
    if log.isEnabledFor(logging.DEBUG):
        duration_ms = round(duration_ns / NS_PER_MS, 3)
        log.debug(
            "call cancelled",
            extra={"request_id": request_id, "caller": caller, "duration_ms": duration_ms},
        )


def log_kept(request_id: str, caller: str, kernel: str, destination: str, rule: str) -> None:
    """A rule of the data policy keeps the call from the provider."""
    fields = {"request_id": request_id, "caller": caller, "kernel": kernel, "destination": destination}
    log.info("call kept by the data policy", extra={**fields, "rule": rule})


def log_end(outcome: Outcome | CircuitOutcome, request_id: str, caller: str, duration_ns: int) -> None:
    """The call ended: refused, degraded, or as its outcome says."""
    if not log.isEnabledFor(logging.DEBUG):
        return
    match outcome:
        case Shed():
            how = "refused"
        case Degraded():
            how = "degraded"
        case _:
            how = f"ended {type(outcome).__name__.lower()}"
    fields = {
        "request_id": request_id,
        "caller": caller,
        "duration_ms": round(duration_ns / NS_PER_MS, 3),
        "job_id": outcome.provenance.job_id,
        "cause": why_no_samples(outcome, figures=True),
    }
    log.debug("call %s", how, extra={name: value for name, value in fields.items() if value != ""})
