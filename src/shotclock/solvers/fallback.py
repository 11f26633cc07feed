"""The classical fallback that races every quantum answer: exact where affordable, otherwise tabu."""

from __future__ import annotations

import numpy as np

from shotclock.domain.ports import Solver
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.solvers.exact import MAX_VARIABLES, Exact
from shotclock.solvers.greedy import Greedy
from shotclock.solvers.tabu import Tabu


def classical(n: int) -> Solver:
    """The solver for n variables: enumeration up to 20 (milliseconds), tabu above."""
    return Exact() if n <= MAX_VARIABLES else Tabu()


class Classical:
    """One `Solver` for all sizes; delegates to `classical(n)`."""

    name = "exact-or-tabu"

    def solve(self, subproblem: Subproblem) -> Bits:
        """The optimum up to 20 variables, tabu's best above, shape (n,)."""
        return classical(subproblem.n).solve(subproblem)


def warm_solvers() -> None:
    """Compiles the solvers or loads them from numba's cache, which takes seconds, before the first call.

    Compiled code does not depend on the size, so one run of each solver is enough.
    """
    for n in (1, MAX_VARIABLES + 1):
        idle = Subproblem(np.zeros((n, n)), np.zeros(n))
        Classical().solve(idle)
        Greedy().solve(idle)
