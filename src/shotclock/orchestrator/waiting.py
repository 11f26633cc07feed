"""The bounded queue: callers take turns, and each one's calls go by priority, deadline, arrival."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import islice, takewhile
from typing import Generic, NamedTuple, TypeVar

from shotclock.domain.subproblem import Priority

T = TypeVar("T", bound=Hashable)
_Rank = tuple[int, int, int]
"""Priority, negated; deadline; arrival. Arrivals differ, so comparing two entries never reaches the items."""
PASSES = 8
"""So many jobs may pass an item that has a job to itself."""
MEMORY = 512.0
"""What a caller has used is forgotten by a factor of e while so much is served."""
FORGOTTEN = 0.5
FEWEST_CALLERS = 64
"""So many are remembered before those whose turns have passed are forgotten."""
OVER_SHARE = 1.5
"""A caller that has used so many times the mean is served after those that have used less."""
_STARTS = [(-int(priority),) for priority in Priority]
"""For each priority, a key that sorts just before its first call."""


def one_share(caller: str) -> float:
    """All callers alike."""
    del caller
    return 1.0


class _Entry(NamedTuple, Generic[T]):
    """A waiting item.

    rank: its order among its caller's.
    item: what waits.
    cost: of its turn.
    turn: by how much the turn advances its caller: the cost for a share of 1.
    job: how many came before.
    """

    rank: _Rank
    item: T
    cost: float
    turn: float
    job: int


_Key = tuple[int, float]
"""0 goes first, 1 lets others pass, 2 is of a caller over its share; then the turn."""


class _Turns(Generic[T]):
    """One caller's calls in order. start: the virtual instant at which its next turn begins.

    A sorted list: at the sizes a deadline allows, moving pointers costs less than a heap's bookkeeping for
    items that leave from the middle.
    """

    def __init__(self, start: float) -> None:
        self.start = start
        self.order: list[_Entry[T]] = []

    def keys(self, job: int, is_over: bool) -> Iterator[tuple[_Key, _Entry[T]]]:
        """Each call with what orders it among the calls of all callers."""
        turn = self.start
        for entry in self.order:
            lets_pass = entry.cost > 1.0 and job - entry.job < PASSES
            yield (2 if is_over else int(lets_pass), turn), entry
            turn += entry.turn


class WaitingCalls(Generic[T]):
    """At most `limit` items, each once, always in order; deadlines are monotonic nanoseconds.

    share_of: a caller's share of the QPU while others wait, relative to a caller with 1.

    Callers share the QPU by start-time fair queueing (Goyal, Vin and Cheng 1996): each turn advances its
    caller's virtual instant by the call's cost, and the earliest instant is served first. A caller without
    a waiting call accumulates no turns: it joins at the instant being served. Priorities order only the
    calls of one caller; otherwise a caller that always claims the highest would take the QPU.

    A job cannot be interrupted, so turns alone would let a job of one circuit hold up the calls that could
    have shared a job before it. Such a circuit (its cost is above 1) lets PASSES jobs pass, and callers over
    their share of what was served lately come after the others.
    """

    def __init__(self, limit: int, share_of: Callable[[str], float] = one_share) -> None:
        self._limit = limit
        self._share_of = share_of
        self._arrivals = 0
        self._jobs = 0
        self._now = 0.0
        self._used: dict[str, float] = {}
        self._mean_use = 0.0
        self._ranks: dict[T, tuple[str, _Rank]] = {}
        self._callers: dict[str, _Turns[T]] = {}
        self._instants: dict[str, float] = {}
        """The instants of callers without a waiting call, while they are ahead of the one being served."""
        self._forget_at = FEWEST_CALLERS

    def __contains__(self, item: T) -> bool:
        return item in self._ranks

    def __len__(self) -> int:
        return len(self._ranks)

    def holds(self, caller: str) -> bool:
        """Whether an item of this caller is waiting."""
        return caller in self._callers

    def ahead_of(self, priority: Priority, caller: str = "") -> int:
        """How many waiting items a new one of this caller would not overtake by turn and priority alone."""
        own = self._callers.get(caller)
        passed_by = bisect_left(own.order, ((1 - int(priority),),)) if own else 0
        if len(self._callers) <= (own is not None):
            return passed_by
        turn = self._start(caller)
        if own:
            turn = own.start + sum(entry.turn for entry in own.order[:passed_by])
        key = (2 if self._is_over(caller) else 0, turn)
        for name, other in self._callers.items():
            if other is not own:
                sort_keys = other.keys(self._jobs, self._is_over(name))
                passed_by += sum(1 for _ in takewhile(lambda sort_key: sort_key[0] <= key, sort_keys))
        return passed_by

    def put(
        self, item: T, deadline_ns: int, priority: Priority, caller: str = "", cost: float = 1.0
    ) -> T | None:
        """Adds an item; returns None if there was room, else the item that must be refused.

        A full queue drops the last item of the caller with the most items for a caller with fewer. Among a
        caller's own items, a new one of higher priority displaces the last of a lower one; an earlier
        deadline alone never displaces an accepted item. Raises ValueError on an item that is waiting already.
        """
        if item in self._ranks:
            raise ValueError("the item is waiting already")
        displaced: T | None = None
        if len(self._ranks) >= self._limit:
            losing = self._find_losing(priority, caller)
            if losing is None:
                return item
            displaced = self._callers[losing].order[-1].item
            self.discard(displaced)
        self._arrivals += 1
        rank = (-int(priority), deadline_ns, self._arrivals)
        turns = self._callers.get(caller)
        if turns is None:
            turns = self._callers[caller] = _Turns(self._start(caller))
            self._instants.pop(caller, None)
            if len(self._instants) >= self._forget_at:  # seldom: it looks at every caller
                self._instants = {name: at for name, at in self._instants.items() if at > self._now}
                self._forget_at = max(FEWEST_CALLERS, 2 * len(self._instants))
        self._ranks[item] = (caller, rank)
        insort(turns.order, _Entry(rank, item, cost, cost / self._share_of(caller), self._jobs))
        return displaced

    def peek(self, count: int) -> list[T]:
        """The first `count` items in order, or all if there are fewer; does not remove them."""
        if len(self._callers) == 1:
            (only,) = self._callers.values()
            return [entry.item for entry in only.order[:count]]
        keys_of_callers = (
            turns.keys(self._jobs, self._is_over(name)) for name, turns in self._callers.items()
        )
        merged = heapq.merge(*keys_of_callers, key=lambda entry_key: (entry_key[0], entry_key[1].rank))
        return [entry.item for _, entry in islice(merged, count)]

    def take(self, items: Iterable[T]) -> None:
        """Removes these items and charges their callers; raises KeyError on one that is not waiting."""
        began, served = self._now, dict[str, float]()
        for item in items:
            caller, _ = self._ranks[item]
            began = max(began, self._callers[caller].start)
            cost = self._remove(item, charged=True)
            served[caller] = served.get(caller, 0.0) + cost
        self._now = began
        self._jobs += 1
        self._record_use(served)

    def discard(self, item: T) -> None:
        """Removes an item if it is waiting, without charging its caller."""
        if item in self._ranks:
            self._remove(item, charged=False)

    def earliest_deadline_ns(self) -> int:
        """The earliest deadline of any item; raises ValueError if the queue is empty."""
        return min(
            turns.order[at].rank[1]
            for turns in self._callers.values()
            for at in (bisect_left(turns.order, (start,)) for start in _STARTS)
            if at < len(turns.order)
        )

    def _start(self, caller: str) -> float:
        """The virtual instant at which a caller without a call would join."""
        return max(self._now, self._instants.get(caller, 0.0))

    def _find_losing(self, priority: Priority, caller: str) -> str | None:
        """The caller whose last item is dropped for the new one; None: the new one is refused."""
        if not self._callers:
            return None
        own = self._callers.get(caller)
        waiting = len(own.order) if own else 0
        most = max(self._callers, key=lambda name: len(self._callers[name].order))
        if len(self._callers[most].order) > waiting + 1:
            return most
        return caller if own and own.order[-1].rank[0] > -int(priority) else None

    def _record_use(self, served: dict[str, float]) -> None:
        decay = math.exp(-sum(served.values()) / MEMORY)
        used = {name: amount * decay for name, amount in self._used.items() if amount * decay > FORGOTTEN}
        for name, amount in served.items():
            used[name] = used.get(name, 0.0) + amount
        self._used = used
        self._mean_use = sum(used.values()) / len(used) if used else 0.0

    def _is_over(self, caller: str) -> bool:
        return self._used.get(caller, 0.0) > OVER_SHARE * self._mean_use

    def _remove(self, item: T, *, charged: bool) -> float:
        """Its turn."""
        caller, rank = self._ranks.pop(item)
        turns = self._callers[caller]
        at = bisect_left(turns.order, (rank,))
        cost = turns.order[at].turn
        if charged:
            turns.start += cost
        del turns.order[at]
        if not turns.order:
            del self._callers[caller]
            self._instants[caller] = turns.start
        return cost
