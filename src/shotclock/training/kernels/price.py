"""What makes a wanted number of items the optimum: a price on each, and where that cannot do it, a bow.

Adding λ·(Σy − k) to E(y) is the Lagrangian of the constraint Σy = k. With L_j the lowest E of j items, a
price alone chooses k only where L is convex at k; a Gauss–Newton model of a confident network often is not
(its loss saturates: removing everything looks cheap). Then the smallest ρ for which λ exists is added as
ρ·(Σy − k)², the augmented Lagrangian (Hestenes 1969, doi 10.1007/BF00927673): it is zero at k, and far
below the penalties that enforce a cardinality by force and swamp the coefficients.

L is enumerated where that is affordable, which finds the optimum on the way: at these sizes nothing that is
asked afterwards can find more (see the benchmarks).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shotclock.domain.jit import jit
from shotclock.domain.subproblem import Bits, Float64s
from shotclock.training.kernels.surrogate import Quadratic

ENUMERATED = 20
SPARE = 1.25
"""ρ over the smallest that suffices, where one is needed: at the smallest, two optima tie."""


@dataclass(frozen=True, slots=True)
class Price:
    """λ of each item and ρ of the squared distance from the wanted number."""

    each: float
    bow: float

    def on(self, problem: Quadratic, steps: Float64s, surplus: float) -> Quadratic:
        """A function of bits b with the price of s = steps·b + surplus items too many: + λs + ρs².

        steps: what each bit adds to the number, (n,) of ±1 or 0; surplus: the number now less the wanted.
        """
        return Quadratic(
            problem.square + self.bow * np.outer(steps, steps),
            problem.linear + (self.each + 2.0 * self.bow * surplus) * steps,
            problem.offset + self.each * surplus + self.bow * surplus**2,
        )


def price_of(problem: Quadratic, wanted: int) -> Price:
    """The price at which `wanted` of the n items of E(y) are chosen, 1 ≤ wanted < n.

    From L_j for every j, so no search over λ is needed. Above 20 items L is close, not proven, and the
    optimum can miss the wanted number.
    """
    pair, single = _fold(problem)
    lowest = _enumerate(pair, single) if len(single) <= ENUMERATED else _grow(pair, single)
    sizes = np.arange(len(lowest)) - wanted
    below, above = sizes[:wanted], sizes[wanted + 1 :]
    # mean cost of each item that comes, on the way up to the wanted number and on the way beyond;
    # a NaN goes through and is refused with the coefficients
    with np.errstate(invalid="ignore"):
        up = (lowest[:wanted] - lowest[wanted]) / below
        beyond = (lowest[wanted + 1 :] - lowest[wanted]) / above
    bow = SPARE * max(0.0, float(((up[:, None] - beyond) / (above - below[:, None])).max()))
    least = float((-beyond - bow * above).max())
    most = float((-up - bow * below).min())
    return Price(0.5 * (least + most), bow)


def resize(problem: Quadratic, chosen: Bits, wanted: int) -> Bits:
    """The chosen items made `wanted` many: the one that costs least goes or comes, one at a time."""
    pair, single = _fold(problem)
    chosen = chosen.copy()
    while (size := int(chosen.sum())) != wanted:
        field = single + 2.0 * pair @ chosen
        change = field if size < wanted else -field
        change[chosen == (1 if size < wanted else 0)] = np.inf
        chosen[int(np.argmin(change))] ^= 1
    return chosen


@jit
def _enumerate(pair: Float64s, single: Float64s) -> Float64s:
    """L_j for j = 0 … n, shape (n + 1,): every subset once, along a Gray code."""
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
    """L_j as found by greedy growth, improved by exchanges at every size."""
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
    """Best-improvement exchanges of a chosen item for another until none lowers E."""
    chosen = chosen.copy()
    for _ in range(len(chosen) ** 2):  # rounding can make two exchanges look like gains of one another
        field = single + 2.0 * pair @ chosen
        inside, outside = np.flatnonzero(chosen == 1), np.flatnonzero(chosen == 0)
        if not len(outside):
            break
        gain: Float64s = field[outside] - field[inside][:, None] - 2.0 * pair[np.ix_(inside, outside)]
        goes, comes = np.unravel_index(int(np.argmin(gain)), gain.shape)
        if gain[goes, comes] >= -1e-12 * float(np.abs(field).max()):
            break
        chosen[inside[goes]], chosen[outside[comes]] = 0, 1
    return chosen


def _fold(problem: Quadratic) -> tuple[Float64s, Float64s]:
    """Pair terms with a zero diagonal, and single terms with the diagonal in them."""
    pair = 0.5 * (problem.square + problem.square.T)
    single: Float64s = problem.linear + np.diagonal(pair)
    np.fill_diagonal(pair, 0.0)
    return pair, single
