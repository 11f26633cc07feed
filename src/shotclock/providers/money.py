"""A budget of money that stops submitting: what is spent, and what is promised to jobs under way."""

from __future__ import annotations

from dataclasses import dataclass

from shotclock.domain.errors import FaultKind, ProviderError


@dataclass(frozen=True, slots=True)
class Price:
    """What a second of usage costs, and in which currency."""

    per_second: float
    currency: str = "USD"


class MoneyBudget:
    """Counts usage in money, each job or session under its own key. A limit of 0 sets none.

    Whether a run may be paid at all is decided before (`quantum.max_money_per_run`).
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

    def reserve(self, key: str, seconds: float) -> None:
        """Promises usage to a job. Raises ProviderError(PERMANENT) where the limit would be passed."""
        cost = seconds * self.price.per_second
        committed = self.spent + self.promised
        if self.limit and committed + cost > self.limit:
            currency = self.price.currency
            raise ProviderError(
                FaultKind.PERMANENT,
                f"money: {self.spent:.4g} {currency} spent and {self.promised:.4g} promised, this job wants "
                f"{cost:.4g}, the limit is {self.limit:.4g}; raise quantum.max_money_per_run to go on",
            )
        self._promised_s[key] = seconds

    def spend(self, key: str, seconds: float) -> None:
        """What a job or session has cost, in place of what was promised or known before."""
        self._promised_s.pop(key, None)
        self._spent_s[key] = seconds

    def release(self, key: str) -> None:
        """Nothing was submitted under this key, or it costs nothing of its own."""
        self._promised_s.pop(key, None)
