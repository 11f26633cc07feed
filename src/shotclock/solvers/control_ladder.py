"""The controls that a call's samples are compared with, and the solvers of whole control arms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shotclock.domain.ports import Solver
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.solvers.annealing import Annealing
from shotclock.solvers.exact import Exact
from shotclock.solvers.greedy import Greedy
from shotclock.solvers.magnitude import Magnitude
from shotclock.solvers.pools import PerturbedGreedy, RandomPool
from shotclock.solvers.tabu import Tabu


def controls(subproblem: Subproblem, shots: int, seed: int) -> tuple[Solver, ...]:
    """The controls for a subproblem; pools draw as many candidates as the QPU took shots.

    The optimum is among them where it is affordable. The same seed gives the same answers.
    """
    exact = (Exact(),) if Exact().can_solve(subproblem) else ()
    pools = PerturbedGreedy(shots, seed), RandomPool(shots, seed)
    return Greedy(), *pools, Annealing(seed), Tabu(seed), *exact


class SeededByCall:
    """A solver that draws with another seed in each call; the same calls in order give the same answers."""

    def __init__(self, make: Callable[[int], Solver]) -> None:
        self.name = make(0).name
        self._make = make
        self._calls = 0

    def solve(self, subproblem: Subproblem) -> Bits:
        """See `Solver.solve`."""
        self._calls += 1
        return self._make(self._calls).solve(subproblem)


def answer_with(name: str, shots: int) -> Solver:
    """The solver of a control arm by its name; pools draw `shots` candidates a call. Raises KeyError."""
    solvers: dict[str, Callable[[], Solver]] = {
        Magnitude.name: Magnitude,
        RandomPool.name: lambda: SeededByCall(lambda seed: RandomPool(shots, seed)),
        PerturbedGreedy.name: lambda: SeededByCall(lambda seed: PerturbedGreedy(shots, seed)),
        Greedy.name: Greedy,
    }
    return solvers[name]()


def warm_controls() -> None:
    """Compiles the controls or loads them from numba's cache, so that no timing includes it."""
    idle = Subproblem(np.zeros((1, 1)), np.zeros(1))
    for control in controls(idle, 1, 0):
        control.solve(idle)
