"""Circuit breaker: stops submitting to a provider that keeps failing, and probes it for recovery.

After Envoy's outlier detection: 5 consecutive failures open the breaker for 30 s × the count of consecutive
openings, at most 300 s; the count falls while the provider stays healthy. A failed status call repeats the
last open period and does not lengthen the next.
"""

from __future__ import annotations

import random

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.status import BreakerState

CONSECUTIVE_FAILURES = 5
BASE_EJECTION_NS = 30 * NS_PER_S
MAX_EJECTION_NS = 300 * NS_PER_S
HEALTHY_NS = 30 * NS_PER_S
"""Each period closed for this long reduces the count of openings by one."""
SHORTEST_SHARE = 0.8
"""Jitter goes downward only, so that the cap is a cap."""


class Breaker:
    """Closed → open → half open → closed or open again; instants are monotonic nanoseconds.

    One status call closes a half-open breaker, never a job, because a job may cost money.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._failures = 0
        self._openings = 0
        self._closed_since_ns = 0
        self._open_until_ns = 0
        self._open = False
        self._probing = False

    def state(self, now_ns: int) -> BreakerState:
        """Half open from the end of an ejection until a probe's answer is known."""
        if not self._open:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now_ns < self._open_until_ns else BreakerState.HALF_OPEN

    def allows(self, now_ns: int) -> bool:
        """Whether a job may be submitted."""
        return self.state(now_ns) is BreakerState.CLOSED

    def retry_after_ns(self, now_ns: int) -> int:
        """How long until a probe is due; 0 when closed or half open."""
        return max(0, self._open_until_ns - now_ns) if self._open else 0

    def record_success(self, now_ns: int) -> None:
        """A job succeeded."""
        # While not closed, this job was submitted before the opening: it says nothing about recovery.
        if self.allows(now_ns):
            self._failures = 0

    def record_failure(self, now_ns: int) -> None:
        """A job failed; the fifth consecutive failure opens the breaker."""
        # Jobs submitted before the opening still fail: they are the same outage and must not prolong it.
        if not self.allows(now_ns):
            return
        self._failures += 1
        if self._failures >= CONSECUTIVE_FAILURES:
            healthy = (now_ns - self._closed_since_ns) // HEALTHY_NS
            # A count beyond the cap has no effect now, but would lengthen openings long after recovery.
            most = MAX_EJECTION_NS // BASE_EJECTION_NS
            self._openings = min(max(0, self._openings - healthy) + 1, most)
            self._eject(now_ns)

    def probe_due(self, now_ns: int) -> bool:
        """True once per half-open period: the caller makes one status call and must report its result.

        A cancelled status call is reported as failed, or the breaker would stay half open for ever.
        """
        # One probe at a time: a recovering provider must not meet a burst of status calls.
        if self._probing or self.state(now_ns) is not BreakerState.HALF_OPEN:
            return False
        self._probing = True
        return True

    def record_probe(self, ok: bool, now_ns: int) -> None:
        """Closes the breaker after a successful status call; after a failed one, repeats the open period.

        Only failed jobs raise the count: a status call is free, so an unavailable provider is probed as often
        at the end of a long outage as at its start.
        """
        if not self._probing:
            raise RuntimeError("no probe is outstanding: ask probe_due first")
        self._probing = False
        if ok:
            self._open = False
            self._closed_since_ns = now_ns
        else:
            self._eject(now_ns)

    def _eject(self, now_ns: int) -> None:
        # Jitter keeps several clients of one provider from probing it at the same instant.
        share = self._rng.uniform(SHORTEST_SHARE, 1.0)
        self._open_until_ns = now_ns + round(share * self._openings * BASE_EJECTION_NS)
        self._open = True
        self._failures = 0
