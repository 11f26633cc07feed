"""Whether solving the subproblems helps at all: classical-control against extra steps at equal wall time."""

from __future__ import annotations

import math

from shotclock.bench.judge.price import describe_price
from shotclock.bench.numbers import number
from shotclock.bench.record.arm_runs import CONTROL, LONGER
from shotclock.bench.schema import Sentence, Summary
from shotclock.bench.stats.statistics import estimate_paired_interval
from shotclock.domain.plural import count


def compare_with_steps(summary: Summary) -> list[Sentence]:
    """The verdict's sentence on classical-longer's loss minus classical-control's, paired by seed.

    Empty if either arm is missing or has no finite loss.
    """
    if LONGER not in summary.arms or CONTROL not in summary.arms:
        return []
    longer, control = (summary.arms[name].loss.per_seed for name in (LONGER, CONTROL))
    gains = [
        longer[seed] - control[seed]
        for seed in sorted(longer.keys() & control.keys())
        if math.isfinite(longer[seed] - control[seed])
    ]
    if not gains:
        return []
    mean, interval = math.fsum(gains) / len(gains), estimate_paired_interval(gains)
    where = "below" if mean >= 0 else "above"
    text = (
        f"Positive control: {_judge(interval)}. At equal wall time {CONTROL} ends with a held-out loss "
        f"{number(abs(mean))} {where} {LONGER}'s, which spends the calls' time on extra steps "
        f"({_describe(interval, len(gains))}); {describe_price(CONTROL, summary.arms[CONTROL])}."
    )
    return [Sentence(text=text, figures=(f"{CONTROL}.loss", f"{LONGER}.loss", f"{CONTROL}.cost"))]


def _judge(interval: tuple[float, float] | None) -> str:
    if interval is not None and interval[0] > 0:
        return "solving the subproblems helps"
    if interval is not None and interval[1] < 0:
        return "solving the subproblems harms, however well they are solved"
    return "it is not shown that solving the subproblems helps"


def _describe(interval: tuple[float, float] | None, seeds: int) -> str:
    if interval is None:
        return "one seed, no interval"
    low, high = interval
    excludes = "excludes" if low > 0 or high < 0 else "includes"
    return (
        f"95 % interval of the gain {number(low)} to {number(high)} over {count(seeds, 'seed')}, "
        f"which {excludes} 0"
    )
