"""Infers a job's QPU time from timestamps, before the vendor has determined its usage.

A vendor lets several jobs be RUNNING at once, but one QPU runs one of them at a time: while they overlap, the
later ones wait. So the time that a job had the QPU began, at the earliest, when another job had finished.
"""

from __future__ import annotations

from collections import deque

from shotclock.providers.client import JobMetrics

REMEMBERED = 256
"""Finished jobs; more are never in progress at once."""


class QpuIntervals:
    """Remembers when the jobs of one back end finished, on the vendor's clock."""

    def __init__(self) -> None:
        self._finished_s: deque[float] = deque(maxlen=REMEMBERED)

    def add(self, metrics: JobMetrics, estimate_s: float) -> float:
        """The job's QPU time as far as it is known, seconds; unknown usage never counts as zero.

        The usage; before it is final the running time after the last job that finished before this one did;
        without timestamps the estimate. An emulation that computes for longer than the time it emulates is
        RUNNING while it computes and is charged for the emulated time: no more than the estimate counts.
        """
        finished_s = metrics.finished_at_s
        if finished_s is None or metrics.running_s is None:
            return metrics.qpu_s(estimate_s)
        earlier_s = max((each for each in self._finished_s if each < finished_s), default=-1.0)
        self._finished_s.append(finished_s)
        if metrics.usage_s is not None:
            return metrics.usage_s
        had_qpu_s = min(metrics.running_s, finished_s - earlier_s)
        return min(had_qpu_s, estimate_s) if metrics.overrun else had_qpu_s
