"""How good samples are, raw and with descent kept apart: relative to the incumbent and to the optimum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shotclock.circuits.decoding import check
from shotclock.domain.circuit import Samples
from shotclock.domain.subproblem import Bits, Float64s, Subproblem

Descent = Callable[[Subproblem, Bits], Bits]


@dataclass(frozen=True, slots=True)
class Found:
    """What one pool holds.

    energy: the lowest E; ratio: the share of the gain that could be had over the incumbent,
    (E_incumbent − E) ÷ (E_incumbent − E_optimum), 0 where nothing beats the incumbent (which is then
    kept) and 1 by definition where the incumbent is optimal; optimal: the optimum is among the pool
    or already was the incumbent.
    """

    energy: float
    ratio: float
    optimal: bool


@dataclass(frozen=True, slots=True)
class Quality:
    """Samples as they were measured, and after a descent from each of them.

    p_optimum: share of the shots, not of the distinct bit strings, that measured an optimum.
    """

    raw: Found
    with_descent: Found
    p_optimum: float


@dataclass(frozen=True, slots=True)
class Reference:
    """The two energies that samples are held against: of changing nothing, and the lowest there is."""

    incumbent: float
    optimum: float


def quality(subproblem: Subproblem, samples: Samples, reference: Reference, descend: Descent) -> Quality:
    """Samples against a reference; `descend` maps a pool, shape (m, n), to local minima.

    Raises ProviderError where the samples cannot be shots of this subproblem.
    """
    check(samples, subproblem.n)
    energies = subproblem.energies(samples.pool)
    slack = _slack(subproblem)
    hits = samples.counts[energies <= reference.optimum + slack]
    return Quality(
        raw=_score_pool(energies, reference, slack),
        with_descent=_score_pool(subproblem.energies(descend(subproblem, samples.pool)), reference, slack),
        p_optimum=float(hits.sum() / samples.shots),
    )


def judge(subproblem: Subproblem, bits: Bits, reference: Reference) -> Found:
    """One answer, shape (n,), by the same measure: for the control arms."""
    return _score_pool(subproblem.energies(bits[None]), reference, _slack(subproblem))


def _score_pool(energies: Float64s, reference: Reference, slack: float) -> Found:
    """What a pool with these energies, shape (m,), holds; differences up to slack are ties."""
    lowest = float(energies.min())
    possible = reference.incumbent - reference.optimum
    if possible <= slack:
        return Found(lowest, 1.0, True)
    ratio = min(1.0, max(0.0, (reference.incumbent - lowest) / possible))
    return Found(lowest, ratio, lowest <= reference.optimum + slack)


def _slack(subproblem: Subproblem) -> float:
    """Energies closer than this are equal: float64 rounding of a sum of n² terms."""
    scale = float(np.abs(subproblem.quadratic).sum() + np.abs(subproblem.linear).sum())
    return 1e-12 * scale
