"""The submission limit: a token bucket in emulated time."""

from __future__ import annotations


class SubmitLimit:
    """Allows `per_minute` submits per minute, and as many in a burst; None for no limit."""

    def __init__(self, per_minute: float | None) -> None:
        self._per_minute = per_minute
        self._tokens = per_minute or 0.0
        self._filled_s = 0.0

    def take(self, now_s: float) -> bool:
        """Takes a token; returns whether the submit is allowed."""
        if self._per_minute is None:
            return True
        gained = (now_s - self._filled_s) * self._per_minute / 60.0
        self._tokens = min(self._per_minute, self._tokens + gained)
        self._filled_s = now_s
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
