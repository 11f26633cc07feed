"""What one caller may have in progress, so that it cannot take what the others need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shotclock.domain.outcome import Rejection

CALLER_QUOTA = "caller_quota"
RETRY_S = 0.1


@dataclass(frozen=True, slots=True)
class CallerQuota:
    """calls, size: how many calls of one caller, and of how many bytes, are in progress at once."""

    calls: int = 128
    size: int = 64 * 1024 * 1024


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
        if calls >= self._quota.calls:
            return Rejection(CALLER_QUOTA, self._quota.calls, calls, "calls of this caller", RETRY_S)
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
