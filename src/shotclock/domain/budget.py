"""Deadlines are instants on a local clock; what travels is the time that remains."""

from __future__ import annotations

from dataclasses import dataclass

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


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
