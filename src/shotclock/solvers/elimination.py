"""The optimum of sparse subproblems of any size, by eliminating one variable after another.

Bucket elimination (Dechter, Artificial Intelligence 113 (1999) 41): the least energy over a variable is a
table over its neighbours, which are coupled from then on. The work is the sum of 2^(1 + neighbours), so it is
bounded by how few couplings cross a cut of the graph and not by n: 127 variables on a heavy-hex lattice take
a few thousand states, 120 on a square lattice some 100,000.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shotclock.domain.subproblem import Bits, Subproblem

MOST_STATES = 1 << 20
"""Of all tables together; they take about 10 ms."""
MOST_NEIGHBOURS = 18
"""Of a variable when it is eliminated: the largest table has 2^19 entries."""
PATTERNS_CACHED = 256

Table = tuple[tuple[int, ...], NDArray[np.float64]]
"""Energies by the bits of some variables, which are in the order of elimination."""


def find_order(subproblem: Subproblem) -> tuple[int, ...]:
    """The order in which elimination is affordable; () where the heuristic finds none."""
    coupled = subproblem.quadratic != 0.0
    return _find_order(subproblem.n, np.packbits(coupled).tobytes())


@lru_cache(maxsize=PATTERNS_CACHED)
def _find_order(n: int, packed: bytes) -> tuple[int, ...]:
    """Always the variable with the fewest neighbours; the bound ends it early on dense patterns."""
    coupled = np.unpackbits(np.frombuffer(packed, np.uint8), count=n * n).reshape(n, n).astype(bool)
    near = {i: set(np.flatnonzero(row).tolist()) for i, row in enumerate(coupled)}
    order, states = [], 0
    while near:
        variable = min(near, key=lambda i: len(near[i]))
        others = near.pop(variable)
        states += 2 << len(others)
        if len(others) > MOST_NEIGHBOURS or states > MOST_STATES:
            return ()
        for other in others:
            near[other] |= others
            near[other] -= {variable, other}
        order.append(variable)
    return tuple(order)


def eliminate(subproblem: Subproblem, order: tuple[int, ...]) -> Bits:
    """The bits of least energy, shape (n,); `order` names every variable once."""
    place = {variable: at for at, variable in enumerate(order)}
    tables = _first_tables(subproblem, order, place)
    choices: list[Table] = []
    for variable in order:
        mine = tables.pop(variable)
        scope = tuple(sorted({other for names, _ in mine for other in names}, key=place.__getitem__))
        total = np.zeros((2,) * len(scope))
        for names, values in mine:
            total += values.reshape([2 if name in names else 1 for name in scope])
        # The eliminated variable is the first of the scope.
        choices.append((scope, (total[1] < total[0]).astype(np.float64)))
        if len(scope) > 1:
            tables[scope[1]].append((scope[1:], total.min(axis=0)))
    bits = np.zeros(subproblem.n, np.uint8)
    for scope, chosen in reversed(choices):
        bits[scope[0]] = chosen[tuple(bits[name] for name in scope[1:])]
    return bits


def _first_tables(
    subproblem: Subproblem, order: tuple[int, ...], place: dict[int, int]
) -> dict[int, list[Table]]:
    """Each term's table at the variable of it that is eliminated first."""
    quadratic, linear = subproblem.quadratic, subproblem.linear
    tables: dict[int, list[Table]] = {i: [((i,), np.array([0.0, linear[i]]))] for i in order}
    for i, j in np.argwhere(np.triu(quadratic, 1) != 0.0).tolist():
        first, second = sorted((i, j), key=place.__getitem__)
        tables[first].append(((first, second), np.array([[0.0, 0.0], [0.0, 2.0 * quadratic[i, j]]])))
    return tables
