"""One QPU: lanes in which jobs are RUNNING, one at a time with the QPU, sessions that hold it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from shotclock.emulator.rest.instants import EmulatedTime

NOBODY = ""


class Machine:
    """Decides who goes next. A dedicated session that is active keeps everyone else out.

    exhausted: whether the instance may not run jobs now.
    """

    def __init__(self, lanes: int, time: EmulatedTime, exhausted: Callable[[], bool]) -> None:
        self._lanes = lanes
        self._time = time
        self._exhausted = exhausted
        self._changed = asyncio.Condition()
        self._entered = 0
        self._busy = False
        self._claimed = False
        self._holder = NOBODY
        self._closed_until_s = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def in_maintenance(self) -> bool:
        """Whether jobs wait for a maintenance to end."""
        return self._time.now_s() < self._closed_until_s

    async def enter(self, session_id: str) -> None:
        """Waits for a lane."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._admits(session_id))
            self._entered += 1

    async def lock(self, session_id: str) -> None:
        """Waits for the QPU, in a lane."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_free_for(session_id))
            self._busy = True

    async def leave(self, *, locked: bool) -> None:
        """Gives the lane back, and the QPU where it was locked."""
        self._entered -= 1
        if locked:
            self._busy = False
        await self.look_again()

    async def take(self) -> None:
        """Waits for the QPU between two jobs, for whoever runs it, before any job that waits too.

        A session that holds the QPU keeps it; `give_back` ends this.
        """
        self._claimed = True
        async with self._changed:
            await self._changed.wait_for(lambda: not self._busy and self._holder == NOBODY)
            self._busy = True
            self._claimed = False

    async def give_back(self) -> None:
        """The QPU is for jobs again."""
        self._busy = False
        await self.look_again()

    def hold(self, session_id: str) -> None:
        """From now on the QPU is this session's alone."""
        self._holder = session_id

    def release(self, session_id: str) -> None:
        """The session no longer holds the QPU; nothing where it did not."""
        if self._holder == session_id:
            self._holder = NOBODY
            self._later(self.look_again())

    def maintain(self, for_s: float) -> None:
        """Lets nobody into a lane for some time."""
        self._closed_until_s = self._time.now_s() + for_s
        self._later(self._reopen(self._closed_until_s))

    def reopen(self) -> None:
        """Ends a maintenance."""
        self._closed_until_s = 0.0
        self._later(self.look_again())

    async def look_again(self) -> None:
        """Something changed: whoever waits looks whether it may go."""
        async with self._changed:
            self._changed.notify_all()

    def _is_free_for(self, session_id: str) -> bool:
        if self._busy:
            return False
        return self._holder == session_id if self._holder != NOBODY else not self._claimed

    def _admits(self, session_id: str) -> bool:
        if self.in_maintenance or self._exhausted():
            return False
        # Jobs that came before the session may fill the lanes, and wait in them until it ends.
        if self._holder != NOBODY:
            return self._holder == session_id
        return self._entered < self._lanes

    async def _reopen(self, at_s: float) -> None:
        await self._time.sleep_until(at_s)
        await self.look_again()

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
