"""Qiskit's primitives in front of a Dispatcher: `Sampler` and `Estimator`.

`shotclock.connect` makes them with an orchestrator in this process or for a running `shotclock serve`.
"""

from __future__ import annotations

from shotclock.primitives.counts import PrimitiveCounts
from shotclock.primitives.estimator import Estimator
from shotclock.primitives.job import Job
from shotclock.primitives.options import CallOptions
from shotclock.primitives.sampler import Sampler

__all__ = ["CallOptions", "Estimator", "Job", "PrimitiveCounts", "Sampler"]
