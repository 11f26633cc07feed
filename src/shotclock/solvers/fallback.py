"""The classical answer set beside every quantum one: exact where that is affordable, else tabu."""

from __future__ import annotations

from shotclock.domain.ports import Solver
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.solvers.exact import MAX_VARIABLES, Exact
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
