"""Simulated annealing with single flips: a control arm that also works beyond enumeration."""

from __future__ import annotations

import math

import numpy as np

from shotclock.domain.jit import jit
from shotclock.domain.subproblem import Bits, Float64s, Subproblem
from shotclock.solvers.moves import Words, draw, flip, start

HOT, COLD = 0.5, 0.01
"""Acceptance of the largest possible worsening at the start, and of the smallest one at the end."""


class Annealing:
    """Metropolis sweeps from random bits while it cools; the same seed gives the same answer.

    reads: starts; sweeps: passes over all bits of one start, at inverse temperatures in geometric steps.
    """

    name = "annealing"

    def __init__(self, seed: int = 0, reads: int = 10, sweeps: int = 100) -> None:
        self._seed = np.uint64(seed)
        self._reads = reads
        self._sweeps = sweeps

    def solve(self, subproblem: Subproblem) -> Bits:
        """The best bits visited, shape (n,)."""
        betas = _inverse_temperatures(subproblem, self._sweeps)
        return _anneal(subproblem.quadratic, subproblem.linear, betas, self._reads, self._seed)


def _inverse_temperatures(subproblem: Subproblem, sweeps: int) -> Float64s:
    """From HOT at the largest change that one flip can make to COLD at the smallest coefficient."""
    quadratic, linear = np.abs(subproblem.quadratic), np.abs(subproblem.linear)
    largest = float((linear + 2.0 * quadratic.sum(axis=1)).max())
    if largest == 0.0:
        return np.zeros(sweeps)
    present = np.concatenate([2.0 * quadratic.ravel(), linear])
    # Tiny coefficients decide nothing, and would freeze the search from its start.
    smallest = float(present[present > 1e-3 * largest].min(initial=largest))
    return np.geomspace(-math.log(HOT) / largest, -math.log(COLD) / smallest, sweeps)


@jit
def _anneal(quadratic: Float64s, linear: Float64s, betas: Float64s, reads: int, seed: np.uint64) -> Bits:
    n = linear.shape[0]
    state = np.array([seed], np.uint64)
    best_bits = np.zeros(n, np.uint8)
    best_energy = 0.0
    bits = np.empty(n, np.uint8)
    flip_gain = np.empty(n)
    for _ in range(reads):
        for i in range(n):
            bits[i] = draw(state) & np.uint64(1)
        energy = start(quadratic, linear, bits, flip_gain)
        for beta in betas:
            for i in range(n):
                if flip_gain[i] <= 0.0 or _uniform(state) < math.exp(-beta * flip_gain[i]):
                    energy += flip_gain[i]
                    flip(quadratic, bits, flip_gain, i)
                    if energy < best_energy:
                        best_energy = energy
                        best_bits[:] = bits
    return best_bits


@jit
def _uniform(state: Words) -> float:
    """In [0, 1), from the upper 53 bits."""
    return float(draw(state) >> np.uint64(11)) * 2.0**-53
