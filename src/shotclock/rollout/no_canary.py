"""Instead of a canary where several services follow one source of flags."""

from __future__ import annotations

from shotclock.domain.canary import NO_CANARY, CanaryReport, CanaryRequest
from shotclock.domain.errors import SettingsError
from shotclock.domain.flags import FlagDecision
from shotclock.domain.outcome import Outcome

REFUSAL = (
    "canary: the flags are in the ledger, which several services follow, and each counts only its own calls; "
    "name a flag file as serve.flags of the service that is to run a canary"
)


class NoCanary:
    """Implements Canary: counts nothing, and refuses to start."""

    def report(self) -> CanaryReport:
        """See `Canary.report`."""
        return NO_CANARY

    def record_end(self, decision: FlagDecision, outcome: Outcome, duration_ns: int, budget_ns: int) -> None:
        """See `Canary.record_end`."""

    def record_value(self, decision: FlagDecision, value: float) -> None:
        """See `Canary.record_value`."""

    async def start(self, request: CanaryRequest, caller: str) -> None:
        """See `Canary.start`."""
        del request, caller
        raise SettingsError(REFUSAL)

    async def abort(self, caller: str) -> None:
        """See `Canary.abort`."""
        del caller
        raise SettingsError(REFUSAL)

    async def advance(self) -> None:
        """See `Canary.advance`."""
