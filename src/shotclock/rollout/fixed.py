"""Flags that are the same for every call."""

from __future__ import annotations

from dataclasses import dataclass

from shotclock.domain.canary import NO_CANARY, CanaryReport
from shotclock.domain.flags import ALLOW, NO_FLAGS, FlagDecision, FlagReport, FlagRequest
from shotclock.domain.outcome import Outcome


@dataclass(slots=True)
class FixedFlags:
    """Flags without a file: by default every call may use the QPU, with any number of shots."""

    decision: FlagDecision = ALLOW

    def decide(self, request: FlagRequest) -> FlagDecision:
        """See `Flags.decide`."""
        del request
        return self.decision

    def report(self) -> FlagReport:
        """See `Flags.report`."""
        return NO_FLAGS

    def canary(self) -> CanaryReport:
        """See `Flags.canary`."""
        return NO_CANARY

    def record_end(self, decision: FlagDecision, outcome: Outcome, duration_ns: int, budget_ns: int) -> None:
        """See `Flags.record_end`; nothing is compared."""
