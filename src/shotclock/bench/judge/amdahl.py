"""What faster quantum calls could give the training at most, by Amdahl's law.

G. M. Amdahl, AFIPS 1967: with a share f of the time made s times faster, the whole becomes
1 / ((1 − f) + f/s) times faster, and 1 / (1 − f) at most.
"""

from __future__ import annotations

import math
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from shotclock.bench.analysis import Ceiling
from shotclock.bench.schema import Summary

DOMINATES = 0.5
"""A share of the training time above which waiting is most of it."""
SCHEDULING_S = 60.0
"""The least time in which an allocation that was given back is allocated again: Slurm's scheduler looks
through its queue every 60 s (`SchedulerParameters`, `sched_interval`). A shorter wait would become longer.
"""


def find_ceilings(summary: Summary, table: pa.Table) -> dict[str, Ceiling]:
    """The ceiling of every arm that calls a QPU and was blocked by a call."""
    ceilings = {}
    for name, arm in summary.arms.items():
        rows = table.filter(pc.equal(table["arm"], name))
        blocked_ns = pc.sum(rows["added_latency_ns"]).as_py()
        if arm.calls_quantum and blocked_ns:
            total_ns = pc.sum(rows["total_iteration_time_ns"]).as_py()
            ceilings[name] = _make_ceiling(total_ns / 1e9, blocked_ns / 1e9, arm.calls)
    return ceilings


def _make_ceiling(total_s: float, blocked_s: float, calls: int) -> Ceiling:
    share = min(1.0, blocked_s / total_s) if total_s else 0.0
    at_most = speed_up(share, math.inf)
    return Ceiling(
        total_s=total_s,
        blocked_s=blocked_s,
        share=share,
        at_most=None if math.isinf(at_most) else at_most,
        hint=choose_hint(share, blocked_s / calls if calls else 0.0),
    )


def choose_hint(share: float, wait_s: float) -> Literal["", "overlap", "yield"]:
    """What to do about the time that training waits for the QPU.

    Malleable or split jobs hold 46 to 64 % less classical time while a QPU is waited for (arXiv 2604.14955).
    share: blocked time ÷ training time. wait_s: blocked by one call, mean.
    """
    if share <= DOMINATES:
        return ""
    return "yield" if wait_s >= SCHEDULING_S else "overlap"


def speed_up(share: float, faster: float) -> float:
    """The total speed-up if this share becomes `faster` times faster; infinity means it takes no time."""
    remaining = (1 - share) + share / faster
    return 1 / remaining if remaining else math.inf
