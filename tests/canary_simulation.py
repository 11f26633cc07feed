"""Simulated canaries: each call is of the canary or its control; the verdict is read again and again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shotclock.rollout.canary import MEASURES, CanaryPlan, Floats, find_bounds

Z_95 = 1.6449


@dataclass(frozen=True)
class Canaries:
    """How simulated canaries ended.

    rolled_back: of them.
    promoted: of them.
    peeked: of them, those that a one-sided z-test at the same error, read as often, would have rolled back.
    median_calls: calls of the canary at its rollback; 0 without one.
    """

    rolled_back: int
    promoted: int
    peeked: int
    median_calls: float


def simulate_canaries(
    count: int,
    plan: CanaryPlan,
    *,
    calls: int,
    look_every: int,
    seed: int,
    canary_miss: float = 0.02,
    canary_slow: float = 0.05,
) -> Canaries:
    """Canaries of `calls` calls an arm; the control misses 2 % and is slow in 5 % of its calls."""
    rng = np.random.default_rng(seed)
    rates = np.array([[canary_miss, 0.02], [canary_slow, 0.05]])[:, :, None]
    margins = (plan.miss_margin, plan.slow_margin)
    hits: Floats = np.zeros((2, 2, count))
    rolled_back_at: Floats = np.zeros(count)
    promoted = np.zeros(count, dtype=bool)
    peeked = np.zeros(count, dtype=bool)
    for n in range(look_every, calls + 1, look_every):
        hits = hits + rng.binomial(look_every, np.broadcast_to(rates, hits.shape))
        if n < plan.minimum:
            continue
        counts, place = np.unique(hits, return_inverse=True)  # few, of many canaries
        bounds = find_bounds(counts, np.full(counts.shape, float(n)), plan.alpha / len(MEASURES) / 2)
        low, high = (bound[place].reshape(hits.shape) for bound in bounds)
        is_worse = (low[:, 0] > high[:, 1]).any(axis=0)
        is_fine = np.all([high[k, 0] - low[k, 1] <= margins[k] for k in range(2)], axis=0)
        is_open = (rolled_back_at == 0) & ~promoted
        rolled_back_at[is_open & is_worse] = n
        promoted |= is_open & is_fine & ~is_worse
        peeked |= _z(hits[0], n) > Z_95
    times = rolled_back_at[rolled_back_at > 0]
    return Canaries(
        len(times), int(promoted.sum()), int(peeked.sum()), float(np.median(times)) if len(times) else 0.0
    )


def _z(hits: Floats, n: int) -> Floats:
    pooled = np.maximum(hits.sum(axis=0), 1) / (2 * n)
    z: Floats = (hits[0] - hits[1]) / n / np.sqrt(pooled * (1 - pooled) * 2 / n)
    return z
