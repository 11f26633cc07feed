"""A fair-share queue as its users see it: random waits, no fixed order, a position that can get worse.

The scheduler reorders at every step, so jobs of one user overtake each other. Each wait is therefore
drawn independently from the profile's distribution.
"""

from __future__ import annotations

import math

import numpy as np

from shotclock.emulator.figures import Distribution

# Assumed, and used only for the position: no mean service time of the public queue is published.
MEAN_SERVICE_S = 5.0
RECOMPUTED_EVERY_S = 10.0
POSITION_SIGMA = 0.35


class FairShareQueue:
    """Waits and positions, deterministic for a seed and a number."""

    def __init__(self, distribution: Distribution | None, seed: int) -> None:
        self._distribution = distribution
        self._seed = seed

    def wait_s(self, number: int) -> float:
        """The numbered request's wait behind other users, seconds; 0 without a queue."""
        if self._distribution is None:
            return 0.0
        rng = np.random.default_rng((self._seed, number))
        return float(self._distribution.draw_s(rng, 1)[0])

    def position(self, number: int, remaining_s: float, now_s: float) -> int:
        """The position in the queue, 1 being next; recomputed every 10 s, so that it can also get worse."""
        window = int(now_s // RECOMPUTED_EVERY_S)
        rng = np.random.default_rng((self._seed, number, window))
        ahead = max(0.0, remaining_s) / MEAN_SERVICE_S * rng.lognormal(0.0, POSITION_SIGMA)
        return 1 + math.floor(ahead)
