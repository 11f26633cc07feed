"""Each variable by itself, as rounding to nearest or pruning by magnitude decides: the weakest control."""

from __future__ import annotations

import numpy as np

from shotclock.domain.subproblem import Bits, Subproblem


class Magnitude:
    """Sets each bit that lowers the energy alone; couplings are ignored."""

    name = "magnitude"

    def solve(self, subproblem: Subproblem) -> Bits:
        """Bits, shape (n,); their energy can be above that of all zeros."""
        return (subproblem.linear < 0.0).astype(np.uint8)
