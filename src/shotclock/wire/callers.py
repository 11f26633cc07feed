"""What one caller may take of the service before its request is understood: bytes, and refusals.

Nothing here depends on what a request says: it is counted before it is parsed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

DEADLINE_SHARE = 0.5
"""A refusal is held for at most this share of the time that its caller still waits."""


@dataclass(frozen=True, slots=True)
class CallerLimits:
    """What each caller may take.

    requests: requests whose bytes are taken in at once; more of its calls wait until one is read.
    unread: calls whose bytes are not taken in yet; more of them are refused.
    request_s: for the bytes of one request to arrive, seconds.
    refusals_per_s: refused calls that are answered, after a burst; later answers are held back.
    refusal_burst: refused calls that are answered at once.
    longest_hold_s: no answer is held back longer, seconds.
    held_answers: answers held back at once; while there are as many, refusals are answered at once.
    """

    requests: int = 16
    unread: int = 512
    request_s: float = 10.0
    refusals_per_s: float = 2.0
    refusal_burst: int = 20
    longest_hold_s: float = 1.0
    held_answers: int = 128


DEFAULT_CALLER_LIMITS = CallerLimits()


class ReadTurns:
    """Takes in a few requests of each caller at once: their bytes cannot be counted before."""

    def __init__(self, limits: CallerLimits) -> None:
        self._limits = limits
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()

    def waiting(self, caller: str) -> int:
        """The caller's calls whose bytes are not taken in yet."""
        return self._users[caller]

    async def take(self, caller: str, read: Callable[[], Awaitable[T]]) -> T:
        """What `read` returns, in the caller's turn; TimeoutError where it takes too long after that."""
        turns = self._turns.setdefault(caller, asyncio.Semaphore(self._limits.requests))
        self._users[caller] += 1
        try:
            async with turns, asyncio.timeout(self._limits.request_s):
                return await read()
        finally:
            self._users[caller] -= 1
            if not self._users[caller]:
                del self._users[caller], self._turns[caller]


class RefusalPace:
    """Answers the refused calls of a caller no faster than its limit, whatever it sends.

    Who is refused and calls again at once would otherwise take the event loop from the others. Its other
    calls are not held back. ending: set when nothing is to be held back any more.
    """

    def __init__(self, limits: CallerLimits, now_s: Callable[[], float], ending: asyncio.Event) -> None:
        self._limits = limits
        self._now_s = now_s
        self._ending = ending
        self._due_s: dict[str, float] = {}
        self._held_answers: Counter[str] = Counter()

    async def hold(self, caller: str, remaining_s: float | None) -> None:
        """Returns when this refusal of the caller may be answered. remaining_s: until the caller gives up."""
        wait_s = self._reserve_s(caller)
        if remaining_s is not None:
            wait_s = min(wait_s, DEADLINE_SHARE * remaining_s)
        if wait_s <= 0.0 or self._held_answers[caller] >= self._limits.held_answers:
            return
        self._held_answers[caller] += 1
        try:
            async with asyncio.timeout(wait_s):
                await self._ending.wait()
        except TimeoutError:
            pass
        finally:
            self._held_answers[caller] -= 1

    def _reserve_s(self, caller: str) -> float:
        """How long from now this refusal would have to wait."""
        limits, now_s = self._limits, self._now_s()
        every_s = 1.0 / limits.refusals_per_s
        burst_s = every_s * limits.refusal_burst
        due_s = max(now_s, self._due_s.get(caller, now_s)) + every_s
        due_s = min(due_s, now_s + burst_s + limits.longest_hold_s)
        self._due_s[caller] = due_s
        return due_s - now_s - burst_s
