"""A budget of money that stops submitting: what is spent, and what is promised to jobs under way."""

from __future__ import annotations

import math
from dataclasses import dataclass

from shotclock.domain.errors import FaultKind, ProviderError

ROUNDING = 1e-9
"""Of a limit: sums of floating-point costs differ by less from what they should be."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a second of usage costs, and in which currency."""

    per_second: float
    currency: str = "USD"


class MoneyBudget:
    """Counts usage in money, each job or session under its own key. A limit of 0 sets none.

    Usage that is not known is never nothing: until it is, what was promised to it counts. Whether a run
    may be paid at all is decided before (`quantum.max_money_per_run`).
    """

    def __init__(self, limit: float, price: Price) -> None:
        self.limit = limit
        self.price = price
        self._spent_s: dict[str, float] = {}
        self._promised_s: dict[str, float] = {}

    @property
    def spent(self) -> float:
        """The price of usage that is known."""
        return sum(self._spent_s.values()) * self.price.per_second

    @property
    def promised(self) -> float:
        """The expected price of what is under way, or whose usage is not final."""
        return sum(self._promised_s.values()) * self.price.per_second

    def promised_s(self, key: str) -> float | None:
        """What is promised under this key, seconds; None where nothing is."""
        return self._promised_s.get(key)

    def reserve(self, key: str, seconds: float) -> None:
        """Promises usage to a job. Raises ProviderError(PERMANENT) where the limit would be passed, or
        where the usage cannot be foreseen.
        """
        cost = seconds * self.price.per_second
        committed = self.spent + self.promised
        # Not `>`, which no NaN ever passes.
        if not _is_length(seconds) or (self.limit and not committed + cost <= self.limit * (1.0 + ROUNDING)):
            currency = self.price.currency
            raise ProviderError(
                FaultKind.PERMANENT,
                f"money: {self.spent:.4g} {currency} spent and {self.promised:.4g} promised, this job needs "
                f"{cost:.4g}, the limit is {self.limit:.4g}; raise quantum.max_money_per_run to go on",
            )
        self._promised_s[key] = seconds

    def commit(self, key: str, seconds: float) -> None:
        """Counts a job that was submitted without this budget, as one from before a stop: what is asked of
        the limit is asked of the next job. Nothing where the key is counted already.
        """
        if key not in self._spent_s and _is_length(seconds):
            self._promised_s.setdefault(key, seconds)

    def spend(self, key: str, seconds: float | None) -> None:
        """What a job or session has cost, in place of what was promised or known before.

        None, or anything that is not a length, is unknown: what was counted stays.
        """
        if seconds is None or not _is_length(seconds):
            return
        self._promised_s.pop(key, None)
        self._spent_s[key] = seconds

    def release(self, key: str) -> None:
        """Nothing was submitted under this key, or it costs nothing by itself."""
        self._promised_s.pop(key, None)

    def forget(self, key: str) -> None:
        """What was counted under this key is part of what another one counts."""
        self._promised_s.pop(key, None)
        self._spent_s.pop(key, None)


def _is_length(seconds: float) -> bool:
    return math.isfinite(seconds) and seconds >= 0.0
