"""Chooses the candidate to apply by its energy on one surrogate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shotclock.domain.outcome import Degraded, Done, Winner
from shotclock.domain.subproblem import Bits, Subproblem


@dataclass(frozen=True, slots=True, eq=False)
class Revalidation:
    """The bits to apply, shape (n,), their energy on the surrogate, and who found them."""

    bits: Bits
    energy: float
    winner: Winner


def revalidate(surrogate: Subproblem, outcome: Done | Degraded) -> Revalidation:
    """The lowest energy among changing nothing, the classical answer and the whole pool of samples.

    Ties go to changing nothing, then to classical, so E(choice) ≤ min(E(classical), E(nothing)).
    """
    nothing = np.zeros(surrogate.n, dtype=np.uint8)
    best = Revalidation(nothing, surrogate.energy(nothing), Winner.INCUMBENT)
    for bits, winner in _candidates(surrogate, outcome):
        energy = surrogate.energy(bits)
        if energy < best.energy - 1e-12 * max(1.0, abs(best.energy)):
            best = Revalidation(bits, energy, winner)
    return best


def _candidates(surrogate: Subproblem, outcome: Done | Degraded) -> list[tuple[Bits, Winner]]:
    if isinstance(outcome, Degraded):
        return [(outcome.answer.bits, outcome.answer.winner)]
    candidates = [(outcome.classical.bits, Winner.CLASSICAL)] if outcome.classical else []
    pool = outcome.samples.pool
    if len(pool):
        candidates.append((pool[int(np.argmin(surrogate.energies(pool)))], Winner.QUANTUM))
    return candidates
