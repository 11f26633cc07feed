"""Single flips of a QUBO's bits with their gains kept up to date, and the random numbers that choose them."""

from __future__ import annotations

import numpy as np

from shotclock.domain.jit import jit
from shotclock.domain.subproblem import Bits, Float64s

Words = np.ndarray[tuple[int], np.dtype[np.uint64]]


@jit
def start(quadratic: Float64s, linear: Float64s, bits: Bits, flip_gain: Float64s) -> float:
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
def flip(quadratic: Float64s, bits: Bits, flip_gain: Float64s, flipped: int) -> None:
    """Flips one bit and updates `flip_gain`, O(n)."""
    sign = -2.0 if bits[flipped] else 2.0
    bits[flipped] ^= 1
    flip_gain[flipped] = -flip_gain[flipped]
    for i in range(bits.shape[0]):
        if i != flipped:
            change = sign * quadratic[i, flipped]
            flip_gain[i] += -change if bits[i] else change


@jit
def draw(state: Words) -> np.uint64:
    """The next 64 random bits: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z: np.uint64 = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
