"""The jobs of one orchestrator that wait for a lane which others use too, in the order in which they came.

Without it a new job could take each lane that gets free, and those that wait for one would starve.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable


class LaneLine:
    """Lets one job at a time look for a lane."""

    def __init__(self, wait_for_lane: Callable[[], Awaitable[object]]) -> None:
        self._wait_for_lane = wait_for_lane
        self._tickets: deque[object] = deque()
        self._changed = asyncio.Condition()

    def __len__(self) -> int:
        return len(self._tickets)

    async def wait(self, *, has_waited: bool) -> None:
        """Returns when a lane seems free and it is this job's turn.

        has_waited: its turn had come and another orchestrator was quicker, so that it is the next again.
        """
        ticket = object()
        if has_waited:
            self._tickets.appendleft(ticket)
        else:
            self._tickets.append(ticket)
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: self._tickets[0] is ticket)
            await self._wait_for_lane()
        finally:
            self._tickets.remove(ticket)
            await asyncio.shield(self._notify())

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
