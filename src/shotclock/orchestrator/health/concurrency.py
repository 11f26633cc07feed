"""How many jobs may be with the provider at once: additive increase, multiplicative decrease."""

from __future__ import annotations

from shotclock.domain.budget import NS_PER_MS

NEAR_PREDICTION = 1.5
"""Latency up to this multiple of the prediction does not indicate a queue (Netflix's gradient limit: 1.5)."""
SLACK_NS = 5 * NS_PER_MS
"""Timers and the event loop, for providers that answer at once."""
DECREASE = 0.5
"""As TCP (RFC 5681); Netflix's AIMD factor of 0.9 would hardly change limits of 5 or less."""


class ConcurrencyLimit:
    """A limit in [1, maximum], the maximum being the lanes the provider says it has.

    It starts at the maximum: lanes are few (5 or less), so the first burst is small, and a limit that
    started at 1 would queue every cold start behind one job to learn what the provider already reported.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = float(max(1, maximum))
        self._limit = self._maximum

    @property
    def limit(self) -> int:
        """Jobs that may be with the provider now."""
        return int(self._limit)

    def record_finish(self, inflight: int, latency_ns: int, predicted_ns: int) -> None:
        """A job came back. inflight: jobs with the provider just before, this one included.

        As many good jobs as the limit raise it by one. A limit that was not used (inflight < limit/2: Netflix
        concurrency-limits) is not raised, since nothing was learned about it.
        """
        used = 2 * inflight >= self.limit
        if used and latency_ns <= NEAR_PREDICTION * predicted_ns + SLACK_NS:
            self._limit = min(self._maximum, self._limit + 1 / self.limit)

    def record_overload(self) -> None:
        """The provider refused for load (429), timed out, or missed a deadline it was predicted to meet."""
        self._limit = max(1.0, float(int(self._limit * DECREASE)))
