"""How the calls of a primitive are made."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import SettingsError
from shotclock.domain.subproblem import Priority

_UNITS = {"ms": 1e-3, "s": 1.0, "min": 60.0}
_BUDGET = re.compile(r"\s*([0-9]*\.?[0-9]+(?:e-?[0-9]+)?)\s*(ms|s|min)\s*")


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How a primitive's calls are made.

    budget: the time until the answer, as "200ms", "2s", "1min" or in seconds.
    priority: which of this caller's calls goes first.
    run: precedes the "/" in the request ids, so that flags keep its calls on one side of a share.
    """

    budget: str | float = "60s"
    priority: Priority = Priority.NORMAL
    run: str = "primitive"

    def __post_init__(self) -> None:
        read_budget_ns(self.budget)


def read_budget_ns(budget: str | float) -> int:
    """The budget in nanoseconds; raises SettingsError unless it is above 0."""
    if isinstance(budget, str):
        match = _BUDGET.fullmatch(budget)
        seconds = float(match[1]) * _UNITS[match[2]] if match else math.nan
    else:
        seconds = float(budget)
    if not 0.0 < seconds < 1e9:
        raise SettingsError(
            f'budget: must be a positive time such as "200ms", "2s" or seconds (got {budget!r})'
        )
    return round(seconds * NS_PER_S)
