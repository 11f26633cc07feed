"""A money budget that refuses submits: counts what is spent and what is reserved for open jobs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from shotclock.domain.errors import FaultKind, ProviderError

ROUNDING = 1e-9
"""Share of a limit that sums of floating-point costs may exceed it by through rounding."""


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a second of usage, and its currency."""

    per_second: float
    currency: str = "USD"


def report_nowhere(key: str, seconds: float) -> None:
    """Nobody asks for usage."""
    del key, seconds


class MoneyBudget:
    """Counts usage in money, each job or session under its own key. A limit of 0 means no limit.

    Unknown usage never counts as zero: until it is known, the reserved amount counts. Whether a run may cost
    anything is decided before (`quantum.max_money_per_run`).
    """

    def __init__(self, limit: float, price: Price) -> None:
        self.limit = limit
        self.price = price
        self._spent_s: dict[str, float] = {}
        self._reserved_s: dict[str, float] = {}
        self._report: Callable[[str, float], None] = report_nowhere

    def on_usage(self, report: Callable[[str, float], None]) -> None:
        """Calls `report` with each key whose usage becomes known, and the usage, seconds."""
        self._report = report

    @property
    def expenditure(self) -> float:
        """The price of the known usage."""
        return sum(self._spent_s.values()) * self.price.per_second

    @property
    def reservation(self) -> float:
        """The expected price of open jobs, and of jobs whose usage is not final."""
        return sum(self._reserved_s.values()) * self.price.per_second

    def reserved_s(self, key: str) -> float | None:
        """The usage reserved under this key, seconds; None if nothing is."""
        return self._reserved_s.get(key)

    def reserve(self, key: str, seconds: float) -> None:
        """Reserves usage for a job.

        Raises ProviderError(PERMANENT) if it would exceed the limit or the estimate is not a valid duration.
        """
        cost = seconds * self.price.per_second
        committed = self.expenditure + self.reservation
        # `not <=` instead of `>`, so that a NaN is refused too.
        if not _is_duration(seconds) or (
            self.limit and not committed + cost <= self.limit * (1.0 + ROUNDING)
        ):
            currency = self.price.currency
            raise ProviderError(
                FaultKind.PERMANENT,
                f"money: this job needs {cost:.4g} {currency}, with {self.expenditure:.4g} spent and "
                f"{self.reservation:.4g} reserved of the limit {self.limit:.4g}; "
                f"raise quantum.max_money_per_run to continue",
            )
        self._reserved_s[key] = seconds

    def commit(self, key: str, seconds: float) -> None:
        """Counts a job submitted without this budget, such as one from before a stop.

        It may exceed the limit; the next reservation is then refused. Does nothing if the key counts already.
        """
        if key not in self._spent_s and _is_duration(seconds):
            self._reserved_s.setdefault(key, seconds)

    def spend(self, key: str, seconds: float | None) -> None:
        """Sets what a job or session has cost, replacing what was reserved or known before.

        None or an invalid duration means unknown: the amount counted so far stays.
        """
        if seconds is None or not _is_duration(seconds):
            return
        self._reserved_s.pop(key, None)
        self._spent_s[key] = seconds
        self._report(key, seconds)

    def release(self, key: str) -> None:
        """Releases a reservation: nothing was submitted, or it costs nothing by itself."""
        self._reserved_s.pop(key, None)

    def forget(self, key: str) -> None:
        """Removes a key whose usage is now part of another key's."""
        self._reserved_s.pop(key, None)
        self._spent_s.pop(key, None)


def _is_duration(seconds: float) -> bool:
    return math.isfinite(seconds) and seconds >= 0.0
