"""A fair-share queue as its users see it: drawn waits, no order kept, a position that can get worse.

The scheduler reorders at every step, so jobs of one user overtake each other. Each wait is therefore
drawn on its own from the profile's distribution, whose tail is the profile's.
"""

from __future__ import annotations

import math

import numpy as np

from shotclock.emulator.figures import Distribution

# Assumed, for the position alone: no mean service time of the public queue is published.
MEAN_SERVICE_S = 5.0
RECOMPUTED_EVERY_S = 10.0
POSITION_SIGMA = 0.35


class FairShareQueue:
    """Waits and positions, the same for the same seed and number."""

    def __init__(self, distribution: Distribution | None, seed: int) -> None:
        self._distribution = distribution
        self._seed = seed

    def wait_s(self, number: int) -> float:
        """The wait behind other users of the numbered request for the QPU, seconds; 0 without a queue."""
        if self._distribution is None:
            return 0.0
        rng = np.random.default_rng((self._seed, number))
        return float(self._distribution.draw_s(rng, 1)[0])

    def position(self, number: int, remaining_s: float, now_s: float) -> int:
        """The place in the queue, 1 being next; recomputed every 10 s, for the better or the worse."""
        window = int(now_s // RECOMPUTED_EVERY_S)
        rng = np.random.default_rng((self._seed, number, window))
        ahead = max(0.0, remaining_s) / MEAN_SERVICE_S * rng.lognormal(0.0, POSITION_SIGMA)
        return 1 + math.floor(ahead)
