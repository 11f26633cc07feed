"""Deadlines are instants on a local clock; what travels is the time that remains."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from numbers import Real

from shotclock.domain.errors import SettingsError

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
_UNITS = {"ms": 1e-3, "s": 1.0, "min": 60.0}
_BUDGET = re.compile(r"\s*([0-9]*\.?[0-9]+(?:e-?[0-9]+)?)\s*(ms|s|min)\s*")


@dataclass(frozen=True, slots=True)
class Deadline:
    """An instant on the local monotonic clock, nanoseconds."""

    at_ns: int

    @classmethod
    def after(cls, now_ns: int, budget_ns: int) -> Deadline:
        """The deadline of a budget that starts to run now."""
        return cls(now_ns + budget_ns)

    def remaining_ns(self, now_ns: int) -> int:
        """The budget still left, never negative."""
        return max(0, self.at_ns - now_ns)


def read_budget_ns(budget: str | float) -> int:
    """The budget in nanoseconds; raises SettingsError unless it is above 0."""
    if isinstance(budget, str):
        match = _BUDGET.fullmatch(budget)
        seconds = float(match[1]) * _UNITS[match[2]] if match else math.nan
    else:
        is_number = isinstance(budget, Real) and not isinstance(budget, bool)
        seconds = float(budget) if is_number else math.nan
    if not 0.0 < seconds < 1e9:
        raise SettingsError(
            f'budget: must be a positive time such as "200ms", "2s" or seconds (got {budget!r})'
        )
    return round(seconds * NS_PER_S)
