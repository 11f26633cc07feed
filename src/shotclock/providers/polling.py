"""When to look again at a job that is on its way. Pure."""

from __future__ import annotations

from dataclasses import dataclass

SHARE = 0.1
"""Of the time between now and the expected end: a look comes at most so much too late."""


@dataclass(frozen=True, slots=True)
class Cadence:
    """Time between looks, seconds: `near` around the expected end, up to `far` before it and long after.

    patience_s: without any answer that is understood for so long, nobody knows what became of a job;
    grace_s: for so long a job or a result that is not found is asked for again, cancel_grace_s: before a
    cancel has failed, which a stop waits for; metrics_s: how long samples that are there wait for the
    job's stamps; usage_s: from a job's end to the second look at its usage, each further one twice as late.
    """

    near_s: float = 0.002
    far_s: float = 0.5
    patience_s: float = 60.0
    usage_s: float = 2.1
    grace_s: float = 5.0
    cancel_grace_s: float = 1.0
    metrics_s: float = 1.0

    def wait_s(self, waited_s: float, expected_s: float) -> float:
        """How long to wait until the next look, `waited_s` after the submit of a job expected to take
        `expected_s`: a tenth of the distance from the expected end, never past it in one go.
        """
        return min(self.far_s, max(self.near_s, SHARE * abs(expected_s - waited_s)))


STEADY = Cadence()
