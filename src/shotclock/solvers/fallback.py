"""The classical fallback that races every quantum answer: exact where affordable, otherwise tabu."""

from __future__ import annotations

import numpy as np

from shotclock.domain.ports import Solver
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.solvers.exact import Exact
from shotclock.solvers.greedy import Greedy
from shotclock.solvers.tabu import Tabu


def classical(subproblem: Subproblem) -> Solver:
    """The solver for it: exact up to 20 variables and for few terms (milliseconds), otherwise tabu."""
    exact = Exact()
    return exact if exact.can_solve(subproblem) else Tabu()


class Classical:
    """One `Solver` for all subproblems; delegates to `classical`."""

    name = "exact-or-tabu"

    def solve(self, subproblem: Subproblem) -> Bits:
        """The optimum where it is affordable, otherwise tabu's best, shape (n,)."""
        return classical(subproblem).solve(subproblem)


def warm_solvers() -> None:
    """Compiles the solvers or loads them from numba's cache, which takes seconds, before the first call.

    Compiled code does not depend on the size, so one run of each solver is enough.
    """
    idle = Subproblem(np.zeros((1, 1)), np.zeros(1))
    for solver in (Exact(), Tabu(), Greedy()):
        solver.solve(idle)
