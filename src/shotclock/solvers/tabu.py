"""One-flip tabu search for subproblems too large to enumerate."""

from __future__ import annotations

import numpy as np

from shotclock.domain.jit import jit
from shotclock.domain.subproblem import Bits, Float64s, Subproblem

Words = np.ndarray[tuple[int], np.dtype[np.uint64]]


class Tabu:
    """Best-admissible-move tabu search from several starts; the same seed gives the same answer.

    sweeps: moves of one start, as a multiple of n; the first start is all zeros, the others random.
    """

    name = "tabu"

    def __init__(self, seed: int = 0, sweeps: int = 40, starts: int = 4) -> None:
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
            bits[i] = _draw(state) & np.uint64(1)
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
    energy = _start(quadratic, linear, bits, flip_gain)
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
        _flip(quadratic, bits, flip_gain, chosen)
        free_at[chosen] = move + 1 + tenure + np.int64(_draw(state) % np.uint64(3))
        if energy < best_energy:
            best_energy = energy
            best_bits[:] = bits
    bits[:] = best_bits
    return best_energy


@jit
def _start(quadratic: Float64s, linear: Float64s, bits: Bits, flip_gain: Float64s) -> float:
    """The energy of `bits`; fills `flip_gain` with the change of each single flip."""
    n = bits.shape[0]
    energy = 0.0
    for i in range(n):
        field = linear[i]
        for j in range(n):
            field += 2.0 * quadratic[i, j] * bits[j]
        flip_gain[i] = -field if bits[i] else field
        if bits[i]:
            energy += 0.5 * (field + linear[i])
    return energy


@jit
def _flip(quadratic: Float64s, bits: Bits, flip_gain: Float64s, flipped: int) -> None:
    """Flips one bit and updates `flip_gain`, O(n)."""
    sign = -2.0 if bits[flipped] else 2.0
    bits[flipped] ^= 1
    flip_gain[flipped] = -flip_gain[flipped]
    for i in range(bits.shape[0]):
        if i != flipped:
            change = sign * quadratic[i, flipped]
            flip_gain[i] += -change if bits[i] else change


@jit
def _draw(state: Words) -> np.uint64:
    """The next 64 random bits: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z: np.uint64 = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
