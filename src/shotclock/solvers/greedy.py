"""Best-improvement one-flip descent: the incumbent for warm starts, and a control arm."""

from __future__ import annotations

import numpy as np

from shotclock.domain.jit import jit
from shotclock.domain.subproblem import Bits, Float64s, Subproblem


class Greedy:
    """Flips the bit that lowers the energy most, from all zeros until none does."""

    name = "greedy"

    def solve(self, subproblem: Subproblem) -> Bits:
        """A local minimum under single flips, shape (n,)."""
        bits = np.zeros(subproblem.n, np.uint8)
        descend_in_place(subproblem.quadratic, subproblem.linear, bits)
        return bits


@jit
def descend_in_place(quadratic: Float64s, linear: Float64s, bits: Bits) -> None:
    """Moves bits, shape (n,), to the local minimum reached by best-improvement flips."""
    n = linear.shape[0]
    field = linear.copy()
    for j in range(n):
        if bits[j]:
            for i in range(n):
                field[i] += 2.0 * quadratic[i, j]
    # Rounding can make two flips undo each other for ever; n² moves are more than enough.
    for _ in range(n * n + 1):
        chosen, lowest = -1, 0.0
        for i in range(n):
            gain = -field[i] if bits[i] else field[i]
            if gain < lowest:
                chosen, lowest = i, gain
        if chosen < 0:
            break
        change = -2.0 if bits[chosen] else 2.0
        bits[chosen] ^= 1
        for i in range(n):
            field[i] += change * quadratic[i, chosen]
