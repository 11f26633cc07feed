"""Control arms that draw as many candidates as a QPU has shots, and the descent that improves a pool.

A QPU's samples are useful only if they beat these at equal shots. Each candidate
costs one energy evaluation, as a shot does. Drawing and descent are separate steps, because a descent
hides the quality of the samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from shotclock.domain.circuit import Samples
from shotclock.domain.jit import jit
from shotclock.domain.subproblem import Bits, Float64s, Subproblem
from shotclock.solvers.greedy import Greedy, descend_in_place

# The warm start's probability that a bit differs from the incumbent's (see circuits.angles).
FLIP_PROBABILITY = 0.25


class _Pool(ABC):
    """Candidates that a subclass draws."""

    def sample(self, subproblem: Subproblem) -> Samples:
        """The candidates, without descent."""
        return _distinct(self._draw(subproblem))

    def solve(self, subproblem: Subproblem) -> Bits:
        """The best candidate, shape (n,)."""
        return _best(subproblem, self._draw(subproblem))

    @abstractmethod
    def _draw(self, subproblem: Subproblem) -> Bits:
        """Bits of shape (shots, n)."""


class RandomPool(_Pool):
    """Uniform bits, `shots` of them; the same for the same seed."""

    name = "random"

    def __init__(self, shots: int, seed: int = 0) -> None:
        self._shots = shots
        self._seed = seed

    def _draw(self, subproblem: Subproblem) -> Bits:
        rng = np.random.default_rng(self._seed)
        return rng.integers(0, 2, (self._shots, subproblem.n), dtype=np.uint8)


class PerturbedGreedy(_Pool):
    """Greedy's answer with each bit flipped at random, `shots` times; the same for the same seed.

    It uses the same information as a warm-started circuit and no QPU, so such a circuit must beat it.
    """

    name = "perturbed-greedy"

    def __init__(self, shots: int, seed: int = 0, flip_probability: float = FLIP_PROBABILITY) -> None:
        self._shots = shots
        self._seed = seed
        self._flip_probability = flip_probability

    def _draw(self, subproblem: Subproblem) -> Bits:
        rng = np.random.default_rng(self._seed)
        flips = rng.random((self._shots, subproblem.n)) < self._flip_probability
        return Greedy().solve(subproblem) ^ flips.astype(np.uint8)


class DescentPool:
    """Another pool's candidates, each moved to its local minimum: measures what a descent adds."""

    def __init__(self, pool: RandomPool | PerturbedGreedy) -> None:
        self.name = f"{pool.name}-descended"
        self._pool = pool

    def solve(self, subproblem: Subproblem) -> Bits:
        """The best local minimum, shape (n,)."""
        return _best(subproblem, descend(subproblem, self._pool.sample(subproblem).pool))


def descend(subproblem: Subproblem, pool: Bits) -> Bits:
    """Best-improvement one-flip descent from each row of a pool, shape (m, n) → (m, n)."""
    return _descend_all(subproblem.quadratic, subproblem.linear, pool)


def _distinct(pool: Bits) -> Samples:
    rows, counts = np.unique(pool, axis=0, return_counts=True)
    return Samples(rows, counts.astype(np.int64))


def _best(subproblem: Subproblem, pool: Bits) -> Bits:
    best: Bits = pool[int(np.argmin(subproblem.energies(pool)))].copy()
    return best


@jit
def _descend_all(quadratic: Float64s, linear: Float64s, pool: Bits) -> Bits:
    minima = pool.copy()
    for row in range(minima.shape[0]):
        descend_in_place(quadratic, linear, minima[row])
    return minima
