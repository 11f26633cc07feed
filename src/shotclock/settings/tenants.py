"""`[tenants.NAME]`: what a caller may use, by the name in its certificate."""

from __future__ import annotations

from pydantic import Field

from shotclock.domain.accounting import Period, TenantQuota
from shotclock.settings.branch import Branch

OTHERS = "*"
"""The table of callers that have none."""


class TenantSettings(Branch):
    """Share and quotas of a caller; what is unset has none.

    share: of the QPU while others wait too, relative to a caller with 1.
    calls: calls in progress at once; `orchestrator.caller_calls` where unset.
    qpu_s: QPU time of paid jobs in a period, seconds, estimates of open jobs included.
    money: what they may cost in a period, in `cost.currency`.
    period: day and month begin at midnight UTC; ever adds up for good.
    """

    share: float = Field(default=1.0, ge=0.01, le=100)
    calls: int | None = Field(default=None, ge=1, le=1_000_000)
    qpu_s: float | None = Field(default=None, ge=0, le=1e9)
    money: float | None = Field(default=None, ge=0, le=1e12)
    period: Period = "month"

    @property
    def quota(self) -> TenantQuota | None:
        """What the ledger enforces; None without a limit."""
        if self.qpu_s is None and self.money is None:
            return None
        return TenantQuota(self.qpu_s, self.money, self.period)
