"""Decides when to poll a running job again. Pure, no I/O."""

from __future__ import annotations

from dataclasses import dataclass

SHARE = 0.1
"""Share of the time to the expected end after which to poll again; bounds how late a poll comes."""


@dataclass(frozen=True, slots=True)
class Cadence:
    """Intervals and limits of polling, seconds.

    near_s: interval around the expected end.
    far_s: longest interval, long before and after the expected end.
    patience_s: without any answer that is understood for this long, a job's outcome counts as unknown.
    usage_s: from a job's end to the second read of its usage; each further read waits twice as long.
    grace_s: how long a job or result that is not found is requested again.
    cancel_grace_s: the same for a cancel, which a stop waits for.
    metrics_s: how long samples wait for the job's metrics.
    """

    near_s: float = 0.002
    far_s: float = 0.5
    patience_s: float = 60.0
    usage_s: float = 2.1
    grace_s: float = 5.0
    cancel_grace_s: float = 1.0
    metrics_s: float = 1.0

    def wait_s(self, waited_s: float, expected_s: float) -> float:
        """Time until the next poll, seconds: a tenth of the distance to the expected end.

        waited_s: time since the submit.
        expected_s: the job's expected duration.
        """
        return min(self.far_s, max(self.near_s, SHARE * abs(expected_s - waited_s)))


STEADY = Cadence()
