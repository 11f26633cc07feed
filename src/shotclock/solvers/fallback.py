"""The classical answer set beside every quantum one: exact where that is affordable, else tabu."""

from __future__ import annotations

import numpy as np

from shotclock.domain.ports import Solver
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.solvers.exact import MAX_VARIABLES, Exact
from shotclock.solvers.greedy import Greedy
from shotclock.solvers.tabu import Tabu


def classical(n: int) -> Solver:
    """The solver for n variables: enumeration to 20 (milliseconds), tabu above."""
    return Exact() if n <= MAX_VARIABLES else Tabu()


class Classical:
    """`classical(n)` behind one `Solver`, for a caller that serves every size."""

    name = "exact-or-tabu"

    def solve(self, subproblem: Subproblem) -> Bits:
        """The optimum to 20 variables, tabu's best above, shape (n,)."""
        return classical(subproblem.n).solve(subproblem)


def warm_solvers() -> None:
    """Compiles what any call may run, or loads it from numba's cache: seconds, which no call has.

    Compiled code depends on no size, and `Subproblem` keeps one layout: one call of each solver is all.
    """
    for n in (1, MAX_VARIABLES + 1):
        idle = Subproblem(np.zeros((n, n)), np.zeros(n))
        Classical().solve(idle)
        Greedy().solve(idle)
