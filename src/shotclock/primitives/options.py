"""How the calls of a primitive are made."""

from __future__ import annotations

from dataclasses import dataclass

from shotclock.domain.budget import read_budget_ns
from shotclock.domain.errors import SettingsError
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
        _check_options(self.priority, self.run)

    def lines(self) -> tuple[str, ...]:
        """What a primitive's summary says of them, besides the budget."""
        return f"  priority    {self.priority.name.lower()}", f"  request ids {self.run}/…"


def _check_options(priority: object, run: object) -> None:
    if not isinstance(priority, Priority):
        raise SettingsError(
            f"priority: must be Priority.LOW, Priority.NORMAL or Priority.HIGH (got {priority!r})"
        )
    if not (isinstance(run, str) and run.isprintable() and "/" not in run):
        raise SettingsError(f'run: must be printable text without "/" (got {run!r})')
