"""One-flip tabu search for subproblems too large to enumerate."""

from __future__ import annotations

import numpy as np

from shotclock.domain.jit import jit
from shotclock.domain.subproblem import Bits, Float64s, Subproblem
from shotclock.solvers.moves import Words, draw, flip, start


class Tabu:
    """Best-admissible-move tabu search from several starts; the same seed gives the same answer.

    sweeps: moves of one start, as a multiple of n; the first start is all zeros, the others random. Many
        short walks miss fewer optima of rounding problems than a few long ones.
    """

    name = "tabu"

    def __init__(self, seed: int = 0, sweeps: int = 2, starts: int = 256) -> None:
        self._seed = np.uint64(seed)
        self._sweeps = sweeps
        self._starts = starts

    def solve(self, subproblem: Subproblem) -> Bits:
        """The best bits visited, shape (n,)."""
        moves = self._sweeps * subproblem.n
        return _search(subproblem.quadratic, subproblem.linear, moves, self._starts, self._seed)


@jit
def _search(quadratic: Float64s, linear: Float64s, moves: int, starts: int, seed: np.uint64) -> Bits:
    n = linear.shape[0]
    state = np.array([seed], np.uint64)
    best_bits = np.zeros(n, np.uint8)
    best_energy = _walk(quadratic, linear, best_bits, moves, state)
    bits = np.empty(n, np.uint8)
    for _ in range(1, starts):
        for i in range(n):
            bits[i] = draw(state) & np.uint64(1)
        energy = _walk(quadratic, linear, bits, moves, state)
        if energy < best_energy:
            best_energy = energy
            best_bits[:] = bits
    return best_bits


@jit
def _walk(quadratic: Float64s, linear: Float64s, bits: Bits, moves: int, state: Words) -> float:
    """One walk from `bits`; sets them to the best ones visited and returns their energy."""
    n = bits.shape[0]
    tenure = min(20, n // 4)
    free_at = np.zeros(n, np.int64)
    flip_gain = np.empty(n)
    energy = start(quadratic, linear, bits, flip_gain)
    best_energy = energy
    best_bits = bits.copy()
    for move in range(moves):
        chosen = -1
        for i in range(n):
            # A tabu move is allowed if it beats everything visited so far (aspiration).
            admissible = free_at[i] <= move or energy + flip_gain[i] < best_energy
            if admissible and (chosen < 0 or flip_gain[i] < flip_gain[chosen]):
                chosen = i
        if chosen < 0:
            continue
        energy += flip_gain[chosen]
        flip(quadratic, bits, flip_gain, chosen)
        free_at[chosen] = move + 1 + tenure + np.int64(draw(state) % np.uint64(3))
        if energy < best_energy:
            best_energy = energy
            best_bits[:] = bits
    bits[:] = best_bits
    return best_energy
