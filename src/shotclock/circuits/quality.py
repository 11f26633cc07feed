"""Sample quality relative to the incumbent and the optimum, separately for raw and descended samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shotclock.circuits.decoding import check
from shotclock.domain.circuit import Samples
from shotclock.domain.subproblem import Bits, Float64s, Subproblem

Descent = Callable[[Subproblem, Bits], Bits]


@dataclass(frozen=True, slots=True)
class PoolScore:
    """A pool's score.

    energy: the lowest E
    ratio: the share of the possible gain over the incumbent, (E_incumbent − E) ÷ (E_incumbent − E_optimum);
        0 if nothing beats the incumbent, 1 by definition if the incumbent is optimal
    optimal: whether the optimum is in the pool or is the incumbent
    """

    energy: float
    ratio: float
    optimal: bool


@dataclass(frozen=True, slots=True)
class Quality:
    """Scores of the measured samples and of their local minima.

    raw: as measured
    with_descent: after a descent from each sample
    p_optimum: share of the shots (not of the distinct bit strings) that measured an optimum
    """

    raw: PoolScore
    with_descent: PoolScore
    p_optimum: float


@dataclass(frozen=True, slots=True)
class QualityReference:
    """The energies that samples are compared with: the incumbent's and the optimum's."""

    incumbent: float
    optimum: float


def quality(
    subproblem: Subproblem, samples: Samples, reference: QualityReference, descend: Descent
) -> Quality:
    """Scores samples against a reference; `descend` maps a pool, shape (m, n), to local minima.

    Raises ProviderError if the samples cannot be shots of this subproblem.
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


def judge(subproblem: Subproblem, bits: Bits, reference: QualityReference) -> PoolScore:
    """Scores one answer, shape (n,), in the same way: for the control arms."""
    return _score_pool(subproblem.energies(bits[None]), reference, _slack(subproblem))


def _score_pool(energies: Float64s, reference: QualityReference, slack: float) -> PoolScore:
    """The score of a pool with these energies, shape (m,); differences up to slack are ties."""
    lowest = float(energies.min())
    possible = reference.incumbent - reference.optimum
    if possible <= slack:
        return PoolScore(lowest, 1.0, True)
    ratio = min(1.0, max(0.0, (reference.incumbent - lowest) / possible))
    return PoolScore(lowest, ratio, lowest <= reference.optimum + slack)


def _slack(subproblem: Subproblem) -> float:
    """Energies closer than this are equal: float64 rounding of a sum of n² terms."""
    scale = float(np.abs(subproblem.quadratic).sum() + np.abs(subproblem.linear).sum())
    return 1e-12 * scale
