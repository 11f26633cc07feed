"""Change points of a series by E-divisive: where runs before and after come from different distributions.

Matteson and James, "A nonparametric approach for multiple change point analysis of multivariate data",
J. Am. Stat. Assoc. 109 (2014), with exponent 1, segments split as a whole: a series is cut where the energy
distance of its two parts is greatest, as long as a permutation test calls that cut no chance; then each part
likewise. Changes are reported after the fact and block nothing (Apache Otava's practice).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST = 4
"""Runs on either side of a change: of fewer, a level is not known."""
ALPHA = 0.01
PERMUTATIONS = 999

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """A move of the level of a series.

    index: the first run of the new level.
    before, after: medians of the levels beside it.
    p: of the permutation test.
    """

    index: int
    before: float
    after: float
    p: float

    @property
    def ratio(self) -> float | None:
        """after / before − 1; None where there is no ratio."""
        return self.after / self.before - 1 if self.before > 0 else None


def change_points(values: Sequence[float], seed: int = 0) -> list[ChangePoint]:
    """In order of their runs; empty for a series shorter than twice `FEWEST`, or a constant one."""
    series = np.asarray(values, dtype=np.float64)
    cuts = _cuts(series, 0, np.random.default_rng((seed, len(series))))
    edges = [0, *(place for place, _ in cuts), len(series)]
    return [
        ChangePoint(
            place,
            float(np.median(series[edges[number] : place])),
            float(np.median(series[place : edges[number + 2]])),
            p,
        )
        for number, (place, p) in enumerate(cuts)
    ]


def _cuts(series: Floats, offset: int, rng: np.random.Generator) -> list[tuple[int, float]]:
    """(place, p) of the cuts of one segment, which begins at `offset` of the whole."""
    if len(series) < 2 * FEWEST:
        return []
    distances = np.abs(series[:, None] - series[None, :])
    best, place = _best(distances)
    if best <= 0:
        return []
    orders = (rng.permutation(len(series)) for _ in range(PERMUTATIONS))
    as_good = sum(_best(distances[np.ix_(order, order)])[0] >= best for order in orders)
    p = (1 + as_good) / (1 + PERMUTATIONS)
    if p > ALPHA:
        return []
    return [
        *_cuts(series[:place], offset, rng),
        (offset + place, p),
        *_cuts(series[place:], offset + place, rng),
    ]


def _best(distances: Floats) -> tuple[float, int]:
    """The greatest energy statistic q(τ) = m n / (m + n) · ê of a cut at τ, and that τ; shape (t, t) in."""
    length = len(distances)
    sums = distances.cumsum(axis=0).cumsum(axis=1)
    cuts = np.arange(FEWEST, length - FEWEST + 1)
    first = sums[cuts - 1, cuts - 1]
    across = sums[cuts - 1, -1] - first
    second = sums[-1, -1] - 2 * across - first
    m, n = cuts.astype(np.float64), (length - cuts).astype(np.float64)
    energy = 2 * across / (m * n) - first / (m * (m - 1)) - second / (n * (n - 1))
    statistic = m * n / (m + n) * energy
    place = int(np.argmax(statistic))
    return float(statistic[place]), int(cuts[place])
