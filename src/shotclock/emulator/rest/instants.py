"""Emulated time: a clock's time multiplied by a speed. All instants are emulated seconds since the start."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from shotclock.domain.ports import Clock


class EmulatedTime:
    """A clock that runs `speed` times as fast as the one it reads, and sleeps on the running loop.

    started_unix_s: the wall time of the start, for the time stamps that clients see.
    """

    def __init__(self, clock: Clock, started_unix_s: float, speed: float) -> None:
        self.speed = speed
        self._clock = clock
        self._started_unix_s = started_unix_s
        self._started_ns = clock.now_ns()

    @property
    def era(self) -> str:
        """An identifier of this start, unique on the machine."""
        return f"{round(self._started_unix_s * 1e3):x}"

    def now_s(self) -> float:
        """Emulated seconds since the start."""
        return (self._clock.now_ns() - self._started_ns) * 1e-9 * self.speed

    def stamp(self, at_s: float) -> str:
        """An instant in the API's format: ISO 8601, UTC, microseconds."""
        moment = datetime.fromtimestamp(self._started_unix_s + at_s, UTC)
        return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")

    async def sleep_until(self, at_s: float) -> None:
        """Waits for an instant; returns immediately if it has passed."""
        remaining_s = (at_s - self.now_s()) / self.speed
        if remaining_s > 0.0:
            await asyncio.sleep(remaining_s)
