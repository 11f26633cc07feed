"""dimod's models as subproblems: every assignment keeps its energy, and an answer is read back by label."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import dimod
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shotclock.domain.errors import SubproblemError
from shotclock.domain.subproblem import Subproblem
from shotclock.solvers.exact import Exact

LABELS = st.one_of(
    st.integers(-20, 20),
    st.text(max_size=3),
    st.tuples(st.text(max_size=1), st.integers(0, 3)),
    st.booleans(),
)
BIASES = st.integers(-32, 32).map(lambda eighths: eighths / 8)


@st.composite
def models(draw: st.DrawFn) -> dimod.BinaryQuadraticModel:
    """Any labels in any order, of either vartype; biases are eighths, so that sums are exact."""
    labels = draw(st.lists(LABELS, min_size=1, max_size=5, unique=True))
    pairs = draw(st.permutations(list(itertools.combinations(labels, 2))))
    present = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return dimod.BinaryQuadraticModel(
        {label: draw(BIASES) for label in labels},
        {tuple(draw(st.permutations(pair))): draw(BIASES) for pair in present},
        draw(BIASES),
        draw(st.sampled_from(["SPIN", "BINARY"])),
    )


def assignments(n: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.array(list(itertools.product((0, 1), repeat=n)), dtype=np.uint8)


def check_every_energy(model: dimod.BinaryQuadraticModel) -> None:
    subproblem = Subproblem.from_bqm(model)
    values = (-1, 1) if model.vartype is dimod.SPIN else (0, 1)
    for bits in assignments(subproblem.n):
        by_position = {label: values[bit] for label, bit in zip(model.variables, bits, strict=True)}
        assert subproblem.energy(bits) == pytest.approx(float(model.energy(by_position)), abs=1e-6)
        assert Subproblem.sample(model, bits) == by_position


@given(models())
@settings(deadline=None, max_examples=60)
def test_every_assignment_keeps_its_energy(model: dimod.BinaryQuadraticModel) -> None:
    check_every_energy(model)


def test_the_optimum_of_labels_out_of_order_is_read_back() -> None:
    model = dimod.BQM({7: -3, 2: 2, 5: 0.5}, {(7, 2): 1, (2, 5): -4}, 1.5, "SPIN")
    best = Exact().solve(Subproblem.from_bqm(model))
    sample = Subproblem.sample(model, best)
    assert sample == {7: 1, 2: -1, 5: -1}
    assert model.energy(sample) == -9.0 == Subproblem.from_bqm(model).energy(best)


@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
@pytest.mark.parametrize("kind", [dimod.BQM, dimod.DictBQM, dimod.Float32BQM])
def test_every_storage_of_dimod_and_its_views_keep_the_order(kind: Any, vartype: str) -> None:
    model = kind({"z": 1, ("a", 2): 2, 3: -1}, {("z", 3): 2, (("a", 2), "z"): -0.5}, 0.25, vartype)
    check_every_energy(model)
    check_every_energy(model.spin)
    check_every_energy(model.binary)


def test_fractions_become_floats() -> None:
    check_every_energy(dimod.DictBQM({"z": Fraction(1, 4), "a": 1}, {("z", "a"): 2}, 0, "SPIN"))


def test_a_single_variable_and_a_model_relabelled_or_grown_later() -> None:
    check_every_energy(dimod.BQM({"only": -1.5}, {}, 2.0, "SPIN"))
    model = dimod.BQM({1: 1.0, 0: 2.0}, {(0, 1): 3.0}, 0.0, "BINARY")
    model.relabel_variables({1: "b", 0: "a"})  # type: ignore[no-untyped-call]
    model.add_linear("A", 0.5)
    check_every_energy(model)


DIMOD: Any = dimod
OTHERS: list[tuple[Any, str]] = [
    (DIMOD.ConstrainedQuadraticModel(), "got ConstrainedQuadraticModel.*cqm_to_bqm"),
    (DIMOD.DiscreteQuadraticModel(), "got DiscreteQuadraticModel.*each case"),
    (DIMOD.QuadraticModel({"i": 1}, {}, 0, {"i": "INTEGER"}), "got QuadraticModel.*encoded"),
    ({(0, 1): -1.0}, "got dict.*from_qubo"),
    (np.zeros((2, 2)), "got ndarray"),
    (None, "got NoneType"),
    ("Q", "got str"),
    (dimod.BinaryQuadraticModel, "got ABCMeta|got type"),
]


@pytest.mark.parametrize(("model", "what"), OTHERS, ids=[type(other).__name__ for other, _ in OTHERS])
def test_what_is_not_a_binary_quadratic_model_is_refused_in_one_line(model: Any, what: str) -> None:
    for convert in (Subproblem.from_bqm, lambda model: Subproblem.sample(model, np.zeros(1, np.uint8))):
        with pytest.raises(SubproblemError, match=what) as caught:
            convert(model)
        assert caught.value.field == "bqm"
        assert "\n" not in str(caught.value)


def test_bits_of_another_size_are_refused() -> None:
    model = dimod.BQM({"b": 1.0, "a": 2.0}, {}, 0.0, "BINARY")
    for bits in (np.zeros(3, np.uint8), np.zeros((1, 2), np.uint8)):
        with pytest.raises(SubproblemError, match=r"must be shape \(2,\)"):
            Subproblem.sample(model, bits)


@pytest.mark.parametrize("bits", [[-1, 1], [0.5, 1.0], [2, 0], [np.nan, 0.0]])
@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
def test_values_that_are_no_bits_are_refused(bits: list[float], vartype: Any) -> None:
    model = dimod.BQM({"b": 1.0, "a": 2.0}, {}, 0.0, vartype)
    with pytest.raises(SubproblemError, match="bits: must be 0 or 1"):
        Subproblem.sample(model, np.array(bits))
