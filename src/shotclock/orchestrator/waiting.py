"""The bounded queue: higher priority first, then the earlier deadline, then the earlier arrival."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from shotclock.domain.subproblem import Priority

T = TypeVar("T", bound=Hashable)
_Rank = tuple[int, int, int]
_STARTS = [(-int(priority),) for priority in Priority]
"""For each priority, a key that sorts just before its first call."""


class WaitingCalls(Generic[T]):
    """At most `limit` items, each once, always in order; deadlines are monotonic nanoseconds.

    A sorted list: at the sizes a deadline allows, moving pointers costs less than a heap's bookkeeping for
    items that leave from the middle.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._arrivals = 0
        self._ranks: dict[T, _Rank] = {}
        # Arrivals differ, so comparing two entries never reaches the items.
        self._order: list[tuple[int, int, int, T]] = []

    def __contains__(self, item: T) -> bool:
        return item in self._ranks

    def __len__(self) -> int:
        return len(self._order)

    def ahead_of(self, priority: Priority) -> int:
        """How many waiting items a new one of this priority would not overtake by priority alone."""
        return bisect_left(self._order, (1 - int(priority),))

    def put(self, item: T, deadline_ns: int, priority: Priority) -> T | None:
        """Adds an item; returns None if there was room, else the item that must be refused.

        A full queue drops its last item for a new one of higher priority, and refuses any other new item: an
        earlier deadline alone never displaces an accepted item. Raises ValueError on an item that is waiting
        already.
        """
        if item in self._ranks:
            raise ValueError("the item is waiting already")
        displaced: T | None = None
        if len(self._order) >= self._limit:
            if not self._order or self._order[-1][0] <= -priority:
                return item
            displaced = self._order.pop()[3]
            del self._ranks[displaced]
        self._arrivals += 1
        rank = (-int(priority), deadline_ns, self._arrivals)
        self._ranks[item] = rank
        insort(self._order, (*rank, item))
        return displaced

    def peek(self, count: int) -> list[T]:
        """The first `count` items in order, or all if there are fewer; does not remove them."""
        return [entry[3] for entry in self._order[:count]]

    def take(self, items: Iterable[T]) -> None:
        """Removes these items; raises KeyError on one that is not waiting."""
        for item in items:
            self._remove(self._ranks.pop(item))

    def discard(self, item: T) -> None:
        """Removes an item if it is waiting."""
        rank = self._ranks.pop(item, None)
        if rank is not None:
            self._remove(rank)

    def earliest_deadline_ns(self) -> int:
        """The earliest deadline of any priority; raises ValueError if the queue is empty."""
        firsts = [bisect_left(self._order, start) for start in _STARTS]
        return min(self._order[at][1] for at in firsts if at < len(self._order))

    def _remove(self, rank: _Rank) -> None:
        del self._order[bisect_left(self._order, rank)]
