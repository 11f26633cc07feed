"""Pairs each arm's held-out loss with classical-only's of the same seed.

Pairing removes the effect that a seed's initial state has on both arms; the interval of the mean difference
is Student's over seeds (`bench.stats.statistics.estimate_paired_interval`).
"""

from __future__ import annotations

import math

from shotclock.bench.analysis import PairedSeeds
from shotclock.bench.record.arm_runs import BASELINE
from shotclock.bench.schema import Summary
from shotclock.bench.stats.statistics import estimate_paired_interval


def pair_seeds(summary: Summary) -> tuple[PairedSeeds, ...]:
    """The pairs of every arm that shares at least one seed with classical-only."""
    if BASELINE not in summary.arms:
        return ()
    base = _keep_finite(summary.arms[BASELINE].loss.per_seed)
    pairs = []
    for name, arm in summary.arms.items():
        losses = _keep_finite(arm.loss.per_seed)
        shared = sorted(losses.keys() & base.keys())
        if name == BASELINE or not shared:
            continue
        differences = {seed: losses[seed] - base[seed] for seed in shared}
        seeds = arm.loss.per_seed.keys() | summary.arms[BASELINE].loss.per_seed.keys()
        pairs.append(
            PairedSeeds(
                arm=name,
                differences=differences,
                mean=math.fsum(differences.values()) / len(differences),
                interval=estimate_paired_interval(list(differences.values())),
                unpaired=len(seeds) - len(shared),
            )
        )
    return tuple(pairs)


def _keep_finite(losses: dict[int, float]) -> dict[int, float]:
    return {seed: loss for seed, loss in losses.items() if math.isfinite(loss)}
