"""Compares a finished call's samples with classical controls on the same subproblem.

This happens when a seed has ended, outside every measured time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from shotclock.domain.iteration import FinishedCall
from shotclock.domain.outcome import Done
from shotclock.domain.ports import Solver
from shotclock.domain.subproblem import Subproblem

Controls = Callable[[Subproblem, int, int], Sequence[Solver]]
"""(subproblem, shots, seed) → the controls of such a call, cheapest first."""
Standing = Literal["better", "equal", "worse"]
EXACT = "exact"
"""The control whose answer is the optimum."""
SEARCH = "annealing"
"""The control that also searches the dense surrogate, where a call's subproblem leaves terms out."""
DENSE_SEARCH = "dense-annealing"
"""That control's name there; they are compared by the dense surrogate's energy."""
BEST_KNOWN = "best-known"
"""The best of a call's controls, which stands for the optimum where that is unknown."""


@dataclass(frozen=True, slots=True)
class ComparedControl:
    """One control beside one call.

    name: the solver's.
    standing: of the QPU's best sample against the control's answer, by energy.
    took_ns: the control's time.
    energy: of the control's answer, the offset included.
    """

    name: str
    standing: Standing
    took_ns: int
    energy: float


@dataclass(frozen=True, slots=True)
class ComparedCall:
    """A call of an arm whose samples came in time.

    arm: the arm's name.
    seed: number of the seed, from 0.
    step: the training step that called.
    quantum_ns: scheduled instant to samples.
    qpu_s: billed QPU seconds.
    controls: the comparison with each control.
    """

    arm: str
    seed: int
    step: int
    quantum_ns: int
    qpu_s: float
    controls: tuple[ComparedControl, ...]


def compare_call(arm: str, seed: int, call: FinishedCall, controls: Controls) -> ComparedCall | None:
    """None if the call brought no new samples by its deadline."""
    outcome = call.outcome
    if not isinstance(outcome, Done) or not outcome.samples.shots or outcome.provenance.cached:
        return None
    subproblem = call.subproblem
    best = float(subproblem.energies(outcome.samples.pool).min())
    slack = subproblem.tie_tolerance()
    solvers = controls(subproblem, outcome.samples.shots, _seed_of(seed, call.step))
    compared = [_compare(control.name, control, subproblem, best) for control in solvers]
    if compared and all(control.name != EXACT for control in compared):
        all_ns = sum(control.took_ns for control in compared)
        lowest = min(control.energy for control in compared)
        compared.append(ComparedControl(BEST_KNOWN, _stand(lowest - best, slack), all_ns, lowest))
    if call.dense is not None:
        compared += _compare_dense(call.dense, outcome, controls, _seed_of(seed, call.step))
    return ComparedCall(
        arm,
        seed,
        call.step,
        outcome.provenance.samples_at_ns - call.boundary_ns,
        outcome.provenance.qpu_s,
        tuple(compared),
    )


def _compare_dense(dense: Subproblem, outcome: Done, controls: Controls, seed: int) -> list[ComparedControl]:
    best = float(dense.energies(outcome.samples.pool).min())
    searches = (each for each in controls(dense, outcome.samples.shots, seed) if each.name == SEARCH)
    return [_compare(DENSE_SEARCH, search, dense, best) for search in searches]


def _compare(name: str, control: Solver, subproblem: Subproblem, best: float) -> ComparedControl:
    began = time.perf_counter_ns()
    bits = control.solve(subproblem)
    took = time.perf_counter_ns() - began
    # `energies` for both, since another order of summation could turn a tie into a difference.
    energy = float(subproblem.energies(bits[None])[0])
    return ComparedControl(name, _stand(energy - best, subproblem.tie_tolerance()), took, energy)


def _stand(margin: float, slack: float) -> Standing:
    return "better" if margin > slack else "worse" if margin < -slack else "equal"


def _seed_of(seed: int, step: int) -> int:
    """The controls' seed: of every call another, and the same in each arm and run."""
    return seed * 1_000_003 + step
