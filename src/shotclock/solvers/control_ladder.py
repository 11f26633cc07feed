"""The controls that a call's samples are compared with, from the cheapest to the optimum."""

from __future__ import annotations

import numpy as np

from shotclock.domain.ports import Solver
from shotclock.domain.subproblem import Subproblem
from shotclock.solvers.annealing import Annealing
from shotclock.solvers.exact import MAX_VARIABLES, Exact
from shotclock.solvers.greedy import Greedy
from shotclock.solvers.pools import PerturbedGreedy, RandomPool
from shotclock.solvers.tabu import Tabu


def controls(n: int, shots: int, seed: int) -> tuple[Solver, ...]:
    """The controls for n variables; pools draw as many candidates as the QPU took shots.

    The optimum is among them up to 20 variables. The same seed gives the same answers.
    """
    exact = (Exact(),) if n <= MAX_VARIABLES else ()
    pools = PerturbedGreedy(shots, seed), RandomPool(shots, seed)
    return Greedy(), *pools, Annealing(seed), Tabu(seed), *exact


def warm_controls() -> None:
    """Compiles the controls or loads them from numba's cache, so that no timing includes it."""
    idle = Subproblem(np.zeros((1, 1)), np.zeros(1))
    for control in controls(1, 1, 0):
        control.solve(idle)
