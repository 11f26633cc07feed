"""What a job takes here, learned from the jobs that ran."""

from __future__ import annotations

from collections import deque

LEARNED_FROM = 20


class ServiceTime:
    """p95 of submit to samples over the last 200 jobs; the provider's own prediction until 20 have run."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=200)

    def observe(self, seconds: float) -> None:
        """One finished job."""
        self._seconds.append(seconds)

    def p95_s(self, predicted_s: float) -> float:
        """The nearest-rank p95 of what was seen, or the prediction, seconds."""
        if len(self._seconds) < LEARNED_FROM:
            return predicted_s
        ranked = sorted(self._seconds)
        return ranked[-(-95 * len(ranked) // 100) - 1]
