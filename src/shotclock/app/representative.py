"""Times a classical iteration of a medium model on this machine, the reference for a call's latency."""

from __future__ import annotations

from statistics import fmean

from shotclock.bench.analysis import RepresentativeIteration
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.ports import Clock
from shotclock.training.loops import medium

WARMUP, MEASURED = 2, 10
"""Iterations of about 0.1 s; so few support only a mean."""


def measure_iteration(clock: Clock) -> RepresentativeIteration:
    """Trains the `medium` workload for a second and returns the mean time of an iteration."""
    workload = medium.build(0)
    for _ in range(WARMUP):
        workload.step()
    times_ms = []
    for _ in range(MEASURED):
        began = clock.now_ns()
        workload.step()
        times_ms.append((clock.now_ns() - began) / NS_PER_MS)
    return RepresentativeIteration(workload="medium", n=MEASURED, mean_ms=fmean(times_ms))
