"""The provider's limit on submissions a minute, as a token bucket."""

from __future__ import annotations

from shotclock.domain.budget import NS_PER_S


class TokenBucket:
    """Holds a minute's worth of tokens, full at the start; time is an argument.

    per_minute None means no limit.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._per_minute = per_minute
        self._tokens = per_minute or 0.0
        self._at_ns: int | None = None

    def set_rate(self, per_minute: float | None) -> None:
        """Another rate begins with a full bucket."""
        if per_minute != self._per_minute:
            self._per_minute, self._tokens, self._at_ns = per_minute, per_minute or 0.0, None

    def reserve_ns(self, now_ns: int) -> int:
        """Takes one token and returns how long to wait before using it, nanoseconds.

        Reservations queue up in the order in which they are made.
        """
        if self._per_minute is None:
            return 0
        per_ns = self._per_minute / (60 * NS_PER_S)
        if self._at_ns is not None:
            self._tokens = min(self._per_minute, self._tokens + (now_ns - self._at_ns) * per_ns)
        self._at_ns = now_ns
        self._tokens -= 1
        return 0 if self._tokens >= 0 else round(-self._tokens / per_ns)

    def give_back(self) -> None:
        """Returns a token that was not used."""
        if self._per_minute is not None:
            self._tokens = min(self._per_minute, self._tokens + 1)
