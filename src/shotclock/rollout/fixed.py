"""Flags that are the same for every call."""

from __future__ import annotations

from dataclasses import dataclass

from shotclock.domain.flags import ALLOW, NO_FLAGS, FlagDecision, FlagReport, FlagRequest


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
