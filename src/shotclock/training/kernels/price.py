"""Makes a target number of items the optimum: a price on each item, plus a quadratic penalty if necessary.

Adding λ·(Σy − k) to E(y) is the Lagrangian of the constraint Σy = k. With L_j the lowest E of j items, a
price alone selects k items only if L is convex at k; a Gauss–Newton model of a confident network often is
not (its loss saturates: removing everything looks cheap). In that case ρ·(Σy − k)² is added with the smallest
ρ for which a λ exists, the augmented Lagrangian (Hestenes 1969, doi 10.1007/BF00927673). It is zero at k, and
far smaller than a penalty that enforces the number alone, which would dominate the coefficients.

Up to 20 items L is enumerated, which also finds the optimum: at these sizes no solver can find a better
answer (see the benchmarks).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shotclock.domain.jit import jit
from shotclock.domain.subproblem import Bits, Float64s
from shotclock.training.kernels.surrogate import Quadratic

ENUMERATED = 20
SPARE = 1.25
"""Factor on the smallest ρ that suffices, because at the smallest two optima tie."""


@dataclass(frozen=True, slots=True)
class UnitPrice:
    """The price λ of each item, and the factor ρ of the quadratic penalty."""

    each: float
    penalty: float

    def add_to(self, problem: Quadratic, steps: Float64s, surplus: float) -> Quadratic:
        """The function of bits b plus λs + ρs², with s = steps·b + surplus items above the target.

        steps: what each bit adds to the number of items, (n,) of ±1 or 0.
        surplus: the present number of items minus the target.
        """
        return Quadratic(
            problem.square + self.penalty * np.outer(steps, steps),
            problem.linear + (self.each + 2.0 * self.penalty * surplus) * steps,
            problem.offset + self.each * surplus + self.penalty * surplus**2,
        )


def price_of(problem: Quadratic, target: int) -> UnitPrice:
    """The price at which `target` of the n items of E(y) are chosen, 1 ≤ target < n.

    It follows from all L_j, so no search over λ is needed. Above 20 items L is approximate, and the optimum
    can miss the target.
    """
    pair, single = _fold(problem)
    lowest = _enumerate(pair, single) if len(single) <= ENUMERATED else _grow(pair, single)
    sizes = np.arange(len(lowest)) - target
    below, above = sizes[:target], sizes[target + 1 :]
    # Mean cost per added item, up to the target and beyond it. A NaN passes and is refused with the
    # coefficients.
    with np.errstate(invalid="ignore"):
        up = (lowest[:target] - lowest[target]) / below
        beyond = (lowest[target + 1 :] - lowest[target]) / above
    penalty = SPARE * max(0.0, float(((up[:, None] - beyond) / (above - below[:, None])).max()))
    least = float((-beyond - penalty * above).max())
    most = float((-up - penalty * below).min())
    return UnitPrice(0.5 * (least + most), penalty)


def resize(problem: Quadratic, chosen: Bits, target: int) -> Bits:
    """Adds or removes the item that costs least, one at a time, until `target` items are chosen."""
    pair, single = _fold(problem)
    chosen = chosen.copy()
    while (size := int(chosen.sum())) != target:
        field = single + 2.0 * pair @ chosen
        change = field if size < target else -field
        change[chosen == (1 if size < target else 0)] = np.inf
        chosen[int(np.argmin(change))] ^= 1
    return chosen


@jit
def _enumerate(pair: Float64s, single: Float64s) -> Float64s:
    """L_j for j = 0 … n, shape (n + 1,), by visiting every subset once along a Gray code."""
    n = single.shape[0]
    lowest = np.full(n + 1, np.inf)
    lowest[0] = 0.0
    field = single.copy()
    chosen = np.zeros(n, np.bool_)
    energy, size = 0.0, 0
    for step in range(1, 1 << n):
        flipped = 0
        while not (step >> flipped) & 1:
            flipped += 1
        sign = -1.0 if chosen[flipped] else 1.0
        energy += sign * field[flipped]
        chosen[flipped] = not chosen[flipped]
        size += 1 if sign > 0 else -1
        for other in range(n):
            field[other] += sign * 2.0 * pair[flipped, other]
        lowest[size] = min(lowest[size], energy)
    return lowest


def _grow(pair: Float64s, single: Float64s) -> Float64s:
    """L_j by greedy growth, improved by exchanges at every size."""
    n = len(single)
    chosen: Bits = np.zeros(n, dtype=np.uint8)
    lowest = np.zeros(n + 1)
    for size in range(1, n + 1):
        field = single + 2.0 * pair @ chosen
        field[chosen == 1] = np.inf
        chosen[int(np.argmin(field))] = 1
        chosen = _exchange(pair, single, chosen)
        lowest[size] = chosen @ pair @ chosen + single @ chosen
    return lowest


def _exchange(pair: Float64s, single: Float64s, chosen: Bits) -> Bits:
    """Exchanges a chosen item for another, the best exchange first, until none lowers E."""
    chosen = chosen.copy()
    for _ in range(
        len(chosen) ** 2
    ):  # bounded: rounding can make an exchange and its inverse look like gains
        field = single + 2.0 * pair @ chosen
        inside, outside = np.flatnonzero(chosen == 1), np.flatnonzero(chosen == 0)
        if not len(outside):
            break
        gain: Float64s = field[outside] - field[inside][:, None] - 2.0 * pair[np.ix_(inside, outside)]
        removed, added = np.unravel_index(int(np.argmin(gain)), gain.shape)
        if gain[removed, added] >= -1e-12 * float(np.abs(field).max()):
            break
        chosen[inside[removed]], chosen[outside[added]] = 0, 1
    return chosen


def _fold(problem: Quadratic) -> tuple[Float64s, Float64s]:
    """Pair terms with a zero diagonal, and single terms that include the diagonal."""
    pair = 0.5 * (problem.square + problem.square.T)
    single: Float64s = problem.linear + np.diagonal(pair)
    np.fill_diagonal(pair, 0.0)
    return pair, single
