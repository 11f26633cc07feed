"""What one caller may have in progress, so that it cannot take what the others need."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from shotclock.domain.outcome import CALLER_QUOTA, Rejection

RETRY_S = 0.1


@dataclass(frozen=True, slots=True)
class CallerQuota:
    """What one caller may have in progress at once.

    calls: its calls.
    size: the bytes of these calls.
    compiles: its user circuits that are checked, read and compiled; more of them wait until one ends.
    shares: of the QPU while others wait too, by the caller's name; 1 of one not named.
    calls_of: `calls` of the callers named.
    """

    calls: int = 128
    size: int = 64 * 1024 * 1024
    compiles: int = 2
    shares: Mapping[str, float] = field(default_factory=dict)
    calls_of: Mapping[str, int] = field(default_factory=dict)

    def share_of(self, caller: str) -> float:
        """The caller's share."""
        return self.shares.get(caller, 1.0)


DEFAULT_QUOTA = CallerQuota()


class CallsInProgress:
    """The calls of each caller, from their arrival to their outcome."""

    def __init__(self, quota: CallerQuota) -> None:
        self._quota = quota
        self._calls: Counter[str] = Counter()
        self._sizes: Counter[str] = Counter()

    def refusal(self, caller: str, size: int) -> Rejection | None:
        """The quota that one more call of so many bytes would exceed, if any."""
        calls, total = self._calls[caller], self._sizes[caller] + size
        most = self._quota.calls_of.get(caller, self._quota.calls)
        if calls >= most:
            return Rejection(CALLER_QUOTA, most, calls, "calls of this caller", RETRY_S)
        if total > self._quota.size:
            return Rejection(CALLER_QUOTA, self._quota.size, total, "bytes of this caller", RETRY_S)
        return None

    @contextmanager
    def hold(self, caller: str, size: int) -> Iterator[None]:
        """Counts a call in and out."""
        self._calls[caller] += 1
        self._sizes[caller] += size
        try:
            yield
        finally:
            self._calls[caller] -= 1
            self._sizes[caller] -= size
            if not self._calls[caller]:
                del self._calls[caller], self._sizes[caller]


class CompileTurns:
    """Lets so many user circuits of each caller be compiled at once.

    Workers take circuits in the order in which they come: with all circuits of one caller in it, another
    caller's circuit would wait for all of them, and their checks would fill every turn of the event loop.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._waiting = Counter[str]()

    @asynccontextmanager
    async def hold(self, caller: str) -> AsyncIterator[None]:
        """Waits for the caller's turn, and keeps it until the end of the context."""
        turns = self._turns.setdefault(caller, asyncio.Semaphore(self._at_once))
        self._waiting[caller] += 1
        try:
            async with turns:
                yield
        finally:
            self._waiting[caller] -= 1
            if not self._waiting[caller]:
                del self._waiting[caller], self._turns[caller]
