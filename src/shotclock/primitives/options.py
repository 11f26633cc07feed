"""How the calls of a primitive are made."""

from __future__ import annotations

from dataclasses import dataclass

from shotclock.domain.budget import read_budget_ns
from shotclock.domain.subproblem import Priority


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

    def lines(self) -> tuple[str, ...]:
        """What a primitive's summary says of them, besides the budget."""
        return f"  priority    {self.priority.name.lower()}", f"  request ids {self.run}/…"
