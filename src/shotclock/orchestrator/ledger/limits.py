"""What the orchestrators that share a ledger may have with a provider, all together."""

from __future__ import annotations

from dataclasses import dataclass

from shotclock.domain.accounting import FREE_OF_RULES, MoneyRules


@dataclass(frozen=True, slots=True)
class SharedLimits:
    """Limits of all orchestrators together.

    lanes: jobs at once; None means no limit.
    submissions_per_minute: None means no limit.
    parked_s: how long a parked job still counts as running, seconds.
    money: what may be spent.
    """

    lanes: int | None = None
    submissions_per_minute: float | None = None
    parked_s: float = 0.0
    money: MoneyRules = FREE_OF_RULES


UNLIMITED = SharedLimits()
