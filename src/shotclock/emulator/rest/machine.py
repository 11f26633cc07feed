"""One QPU: lanes for RUNNING jobs, one of which uses the QPU at a time, and sessions that hold it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from shotclock.emulator.rest.instants import EmulatedTime

NOBODY = ""


class Machine:
    """Decides which job runs next. An active dedicated session excludes all other jobs.

    exhausted: returns whether the instance's usage is exhausted, so that no job may start.
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
        """Waits for the QPU; the job is in a lane."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_free_for(session_id))
            self._busy = True

    async def leave(self, *, locked: bool) -> None:
        """Frees the lane, and the QPU if it was locked."""
        self._entered -= 1
        if locked:
            self._busy = False
        await self.wake_waiting()

    async def take(self) -> None:
        """Takes the QPU for its operator between two jobs, before any waiting job.

        Waits for a session that holds the QPU; `give_back` ends this.
        """
        self._claimed = True
        async with self._changed:
            await self._changed.wait_for(lambda: not self._busy and self._holder == NOBODY)
            self._busy = True
            self._claimed = False

    async def give_back(self) -> None:
        """Returns the QPU to jobs."""
        self._busy = False
        await self.wake_waiting()

    def hold(self, session_id: str) -> None:
        """Reserves the QPU for this session."""
        self._holder = session_id

    def release(self, session_id: str) -> None:
        """Ends the session's reservation, if it has one."""
        if self._holder == session_id:
            self._holder = NOBODY
            self._start_task(self.wake_waiting())

    def maintain(self, for_s: float) -> None:
        """Closes the lanes for some time."""
        self._closed_until_s = self._time.now_s() + for_s
        self._start_task(self._wake_at(self._closed_until_s))

    def reopen(self) -> None:
        """Ends a maintenance."""
        self._closed_until_s = 0.0
        self._start_task(self.wake_waiting())

    async def wake_waiting(self) -> None:
        """Wakes the waiting jobs, which check their conditions again."""
        async with self._changed:
            self._changed.notify_all()

    def _is_free_for(self, session_id: str) -> bool:
        if self._busy:
            return False
        return self._holder == session_id if self._holder != NOBODY else not self._claimed

    def _admits(self, session_id: str) -> bool:
        if self.in_maintenance or self._exhausted():
            return False
        # Earlier jobs of other users may fill the lanes and wait there until the session ends.
        if self._holder != NOBODY:
            return self._holder == session_id
        return self._entered < self._lanes

    async def _wake_at(self, at_s: float) -> None:
        await self._time.sleep_until(at_s)
        await self.wake_waiting()

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
