"""What a subproblem accepts: energies that are finite numbers, and fields of the right type and range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from harness import random_subproblem
from shotclock.circuits.angles import cold, parameters
from shotclock.domain.errors import SubproblemError
from shotclock.domain.outcome import incumbent
from shotclock.domain.subproblem import MAX_ENERGY, Priority, Subproblem
from shotclock.orchestrator import race
from shotclock.solvers.exact import Exact
from shotclock.solvers.greedy import Greedy
from shotclock.solvers.tabu import Tabu


def make(**fields: Any) -> Subproblem:
    defaults = {"quadratic": np.array([[0.0, 1.0], [1.0, 0.0]]), "linear": np.array([1.0, -2.0])}
    return Subproblem(**{**defaults, **fields})


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        (
            {"linear": np.array([1e308, -1e308])},
            "linear",
            r"energies may reach inf .*; scale the problem down",
        ),
        ({"linear": np.array([1e150, 1e150])}, "linear", r"may reach 2e\+150 .* the most is 1e\+150"),
        ({"quadratic": np.array([[0, 1e308], [1e308, 0]])}, "quadratic", "energies may reach inf"),
        ({"offset": -1e151}, "offset", r"energies may reach 1e\+151"),
        ({"offset": math.inf}, "offset", r"must be finite \(got inf\)"),
        ({"offset": math.nan}, "offset", r"must be finite \(got nan\)"),
        ({"offset": 10**400}, "offset", r"must be at most 1e\+150"),
        ({"offset": "1"}, "offset", "must be a number"),
        ({"offset": True}, "offset", "must be a number"),
        ({"offset": 1j}, "offset", "must be a number"),
        ({"budget_ns": 1.5}, "budget_ns", r"must be a whole number \(got 1\.5\)"),
        ({"budget_ns": True}, "budget_ns", "must be a whole number"),
        ({"budget_ns": None}, "budget_ns", "must be a whole number"),
        ({"budget_ns": -1}, "budget_ns", r"is negative \(got -1\)"),
        ({"budget_ns": 2**63}, "budget_ns", r"must be less than 2\^63"),
        ({"base_version": 0.0}, "base_version", "must be a whole number"),
        ({"base_version": -1}, "base_version", "is negative"),
        ({"priority": 7}, "priority", r"must be one of 0 \(LOW\), 1 \(NORMAL\), 2 \(HIGH\) \(got 7\)"),
        ({"priority": 1.0}, "priority", "must be one of"),
        ({"priority": True}, "priority", "must be one of"),
        ({"priority": "HIGH"}, "priority", "must be one of"),
        ({"kind": None}, "kind", "must be text"),
        ({"request_id": 3}, "request_id", "must be text"),
        ({"caller": 3}, "caller", "must be text"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(fields: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(SubproblemError, match=message) as caught:
        make(**fields)
    assert caught.value.field == field
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_are_kept_as_pythons() -> None:
    instance = make(
        offset=np.float32(2), budget_ns=np.uint32(5), base_version=np.int64(3), priority=np.int8(2)
    )
    assert [type(value) for value in (instance.offset, instance.budget_ns, instance.base_version)] == [
        float,
        int,
        int,
    ]
    assert (instance.offset, instance.budget_ns, instance.base_version) == (2.0, 5, 3)
    assert instance.priority is Priority.HIGH


@pytest.mark.parametrize("exponent", [-1074, -1060, -1030, -998, -994, -500, 0, 300, 490])
def test_every_scale_that_is_accepted_has_finite_answers(exponent: int) -> None:
    """From denormal numbers to the bound: energies, gains and angles."""
    base = random_subproblem(4, 1)
    scale = math.ldexp(1.0, exponent)
    subproblem = Subproblem(base.quadratic * scale, base.linear * scale, base.offset * scale)
    answers = [
        incumbent(subproblem),
        *(race.classical(subproblem, solver) for solver in (Exact(), Greedy(), Tabu())),
    ]
    best = race.best(subproblem, tuple(answers))
    for answer in answers:
        assert math.isfinite(answer.energy)
        assert abs(answer.energy) <= MAX_ENERGY
        assert best.energy <= answer.energy + subproblem.tie_tolerance()
    for angles in (cold(subproblem), parameters(subproblem, best.bits)):
        for phases in (angles.field, angles.coupling, angles.mixer, angles.warm):
            assert np.isfinite(phases).all()
