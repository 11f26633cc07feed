"""The race between answers: the lowest energy wins; ties go to changing nothing, then to classical."""

from __future__ import annotations

from shotclock.domain.outcome import Answer, Winner
from shotclock.domain.ports import Solver
from shotclock.domain.subproblem import Subproblem


def classical(subproblem: Subproblem, solver: Solver) -> Answer:
    """The solver's answer on the original objective."""
    bits = solver.solve(subproblem)
    return Answer(bits, subproblem.energy(bits), Winner.CLASSICAL, solver.name)


def best(subproblem: Subproblem, candidates: tuple[Answer, ...]) -> Answer:
    """The lowest energy; an earlier candidate keeps a tie."""
    winner = candidates[0]
    slack = subproblem.tie_tolerance()
    for candidate in candidates[1:]:
        if candidate.energy < winner.energy - slack:
            winner = candidate
    return winner
