"""A client that counts nothing."""

from __future__ import annotations

from shotclock.domain.outcome import CircuitOutcome, Decision, Outcome
from shotclock.domain.recorders import DamagedMessage
from shotclock.domain.trace_context import TraceContext


class UncountedCalls:
    """A ClientRecorder that counts nothing."""

    def record_outcome(
        self,
        outcome: Outcome | CircuitOutcome,
        duration_ns: int,
        budget_ns: int,
        caller: str = "",
        trace: TraceContext | None = None,
    ) -> None:
        """See `ClientRecorder.record_outcome`."""

    def record_client_outcome(
        self,
        outcome: Outcome | CircuitOutcome,
        duration_ns: int,
        budget_ns: int,
        trace: TraceContext | None = None,
    ) -> None:
        """See `ClientRecorder.record_client_outcome`."""

    def record_decision(self, decision: Decision, stale: bool, caller: str = "") -> None:
        """See `ClientRecorder.record_decision`."""

    def record_integrity_failure(self, message: DamagedMessage, caller: str = "") -> None:
        """See `ClientRecorder.record_integrity_failure`."""


UNCOUNTED = UncountedCalls()
