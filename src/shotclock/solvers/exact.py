"""The true optimum: of small subproblems by enumeration, of sparse ones of any size by elimination."""

from __future__ import annotations

import numpy as np

from shotclock.domain.errors import SubproblemError
from shotclock.domain.jit import jit
from shotclock.domain.subproblem import Bits, Float64s, Subproblem
from shotclock.solvers.elimination import eliminate, find_order

MAX_VARIABLES = 20
BLOCK_VARIABLES = 10


class Exact:
    """The lowest energy of all 2ⁿ assignments; of equal ones, enumerated, the smallest as a binary number.

    max_variables: the most to enumerate; the default takes milliseconds, and each further one doubles that.
        Larger subproblems are solved by elimination, where few terms make that affordable.
    """

    name = "exact"

    def __init__(self, max_variables: int = MAX_VARIABLES) -> None:
        self._max_variables = max_variables

    def can_solve(self, subproblem: Subproblem) -> bool:
        """Whether the optimum is affordable."""
        return subproblem.n <= self._max_variables or bool(find_order(subproblem))

    def solve(self, subproblem: Subproblem) -> Bits:
        """The optimal bits, shape (n,). Raises SubproblemError unless `can_solve`."""
        n = subproblem.n
        if n <= self._max_variables:
            return _solve(subproblem.quadratic, subproblem.linear)
        order = find_order(subproblem)
        if not order:
            raise SubproblemError(
                "linear",
                f"has {n} variables and too many terms for elimination; enumeration takes at most "
                f"{self._max_variables}",
            )
        return eliminate(subproblem, order)


@jit
def _solve(quadratic: Float64s, linear: Float64s) -> Bits:
    index, bits = _argmin(quadratic, linear), np.empty(linear.shape[0], np.uint8)
    for i in range(linear.shape[0]):
        bits[i] = (index >> i) & 1
    return bits


@jit
def _argmin(quadratic: Float64s, linear: Float64s) -> int:
    """The index of the lowest energy; bit i of an index is variable i.

    The lowest ten variables are tabulated for each assignment of the upper ones, so that the table stays
    in the first-level cache and each energy sums few terms, without the drift of a Gray code.
    """
    n = linear.shape[0]
    low = min(n, BLOCK_VARIABLES)
    table = np.empty(1 << low)
    slope = np.empty(1 << low)
    field = np.empty(low)
    best, best_index = np.inf, 0
    for upper in range(1 << (n - low)):
        base = _fix_upper(quadratic, linear, upper, low, field)
        _tabulate(quadratic, field, base, table, slope)
        for index in range(1 << low):
            if table[index] < best:
                best, best_index = table[index], (upper << low) | index
    return best_index


@jit
def _fix_upper(quadratic: Float64s, linear: Float64s, upper: int, low: int, field: Float64s) -> float:
    """Energy of the upper variables alone; sets `field` to the resulting linear terms of the lower ones."""
    n = linear.shape[0]
    field[:] = linear[:low]
    base = 0.0
    for i in range(low, n):
        if (upper >> (i - low)) & 1:
            base += linear[i]
            for j in range(low):
                field[j] += 2.0 * quadratic[i, j]
            for j in range(low, i):
                if (upper >> (j - low)) & 1:
                    base += 2.0 * quadratic[i, j]
    return base


@jit
def _tabulate(quadratic: Float64s, field: Float64s, base: float, table: Float64s, slope: Float64s) -> None:
    """All energies by doubling: E(b + 2ᵏ) = E(b) + slope_k(b), slope_k(b + 2ʲ) = slope_k(b) + 2Q_kj."""
    table[0] = base
    for k in range(field.shape[0]):
        slope[0] = field[k]
        for j in range(k):
            step = 2.0 * quadratic[k, j]
            for index in range(1 << j):
                slope[index + (1 << j)] = slope[index] + step
        for index in range(1 << k):
            table[index + (1 << k)] = table[index] + slope[index]
