"""Stops jobs to a provider that keeps failing, and asks once in a while whether it is well again.

After Envoy's outlier detection: 5 consecutive failures eject; base ejection time 30 s × the count of
ejections in a row, at most 300 s; the count falls while the provider stays healthy. A failed status call
repeats an ejection and does not lengthen the next.
"""

from __future__ import annotations

import random

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.status import BreakerState

CONSECUTIVE_FAILURES = 5
BASE_EJECTION_NS = 30 * NS_PER_S
MAX_EJECTION_NS = 300 * NS_PER_S
HEALTHY_NS = 30 * NS_PER_S
"""So long closed takes one off the count of openings."""
SHORTEST_SHARE = 0.8
"""Jitter goes downward only, so that the cap is a cap."""


class Breaker:
    """Closed → open → half open → closed or open again; instants are monotonic nanoseconds.

    A half-open breaker is closed by one status call, never by a job: a job may be paid for.
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
        """A job ended well. While not closed this is of a job from before the opening: it proves nothing."""
        if self.allows(now_ns):
            self._failures = 0

    def record_failure(self, now_ns: int) -> None:
        """A job failed; the fifth in a row opens. While not closed nothing changes, nor is it open longer."""
        if not self.allows(now_ns):
            return
        self._failures += 1
        if self._failures >= CONSECUTIVE_FAILURES:
            healthy = (now_ns - self._closed_since_ns) // HEALTHY_NS
            # A count beyond the cap would lengthen nothing now and every ejection long after recovery.
            most = MAX_EJECTION_NS // BASE_EJECTION_NS
            self._openings = min(max(0, self._openings - healthy) + 1, most)
            self._eject(now_ns)

    def probe_due(self, now_ns: int) -> bool:
        """True once each time it is half open: whoever hears it makes one status call and must report it.

        A status call that was cancelled is reported as failed, or the breaker stays half open for ever.
        """
        if self._probing or self.state(now_ns) is not BreakerState.HALF_OPEN:
            return False
        self._probing = True
        return True

    def record_probe(self, ok: bool, now_ns: int) -> None:
        """The status call's answer: closes, or stays open as long again.

        Only jobs that fail raise the count: a status call costs nothing, so a provider that is away is asked
        as often at the end of a long outage as at its start.
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
        share = self._rng.uniform(SHORTEST_SHARE, 1.0)
        self._open_until_ns = now_ns + round(share * self._openings * BASE_EJECTION_NS)
        self._open = True
        self._failures = 0
