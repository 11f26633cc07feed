"""The QAOA circuit: its definition, its form on a line, its angles, its bit order."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector

from harness import random_parameters
from shotclock.circuits.angles import coefficient_scale, parameters
from shotclock.circuits.qaoa import line_circuit, logical_circuit, parameter_values
from shotclock.domain.circuit import QaoaParameters
from shotclock.domain.subproblem import Float64s, Subproblem
from shotclock.emulator.statevector import execute, probabilities
from shotclock.solvers.greedy import Greedy

Matrix = NDArray[np.complex128]
X = np.array([[0, 1], [1, 0]], complex)
Y = np.array([[0, -1j], [1j, 0]], complex)
Z = np.diag([1.0, -1.0]).astype(complex)


def bit_probabilities(circuit: QuantumCircuit, values: QaoaParameters) -> Float64s:
    """Probabilities of the classical bits, shape (2ⁿ,); bit i of an index is classical bit i."""
    bound = circuit.assign_parameters(parameter_values(circuit, values))
    measured = {
        bound.find_bit(instruction.clbits[0]).index: bound.find_bit(instruction.qubits[0]).index
        for instruction in bound.data
        if instruction.operation.name == "measure"
    }
    state = Statevector(bound.remove_final_measurements(inplace=False))
    exact: Float64s = state.probabilities([measured[bit] for bit in range(bound.num_clbits)])
    return exact


def rotation(pauli: Matrix, angle: float) -> Matrix:
    """exp(−i·angle·P/2) of an operator with P² = 1."""
    return math.cos(angle / 2) * np.eye(len(pauli)) - 1j * math.sin(angle / 2) * pauli


def on(operators: dict[int, Matrix], n: int) -> Matrix:
    """A tensor product with qubit 0 as the least significant factor."""
    product = np.eye(1, dtype=complex)
    for qubit in reversed(range(n)):
        product = np.kron(product, operators.get(qubit, np.eye(2)))
    return product


def by_definition(p: QaoaParameters) -> Float64s:
    """|⟨b| Π RY(θ)RZ(2β)RY(−θ) · Π RZZ(2γJ) RZ(2γh) · Π RY(θ) |0⟩|² as dense matrices."""
    n = p.n
    state = np.eye(1, 1 << n, dtype=complex)[0]
    for i in range(n):
        state = on({i: rotation(Y, p.warm[i])}, n) @ state
    for layer in range(p.layers):
        for i in range(n):
            state = on({i: rotation(Z, 2 * p.field[layer, i])}, n) @ state
        for i, j in itertools.combinations(range(n), 2):
            state = rotation(on({i: Z, j: Z}, n), 2 * p.coupling[layer, i, j]) @ state
        turn = rotation(Z, 2 * p.mixer[layer])
        for i in range(n):
            mixer = rotation(Y, p.warm[i]) @ turn @ rotation(Y, -p.warm[i])
            state = on({i: mixer}, n) @ state
    exact: Float64s = np.abs(state) ** 2
    return exact


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_circuits_and_emulator_follow_the_formula(n: int, layers: int) -> None:
    p = random_parameters(n, n, layers)
    exact = by_definition(p)
    np.testing.assert_allclose(bit_probabilities(logical_circuit(n, layers), p), exact, atol=1e-12)
    np.testing.assert_allclose(bit_probabilities(line_circuit(n, layers), p), exact, atol=1e-12)
    np.testing.assert_allclose(probabilities(p), exact, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.integers(1, 2), st.integers(0, 1000))
def test_the_swap_network_is_the_logical_circuit(n: int, layers: int, seed: int) -> None:
    p = random_parameters(n, seed, layers)
    on_a_line, logical = line_circuit(n, layers), logical_circuit(n, layers)
    np.testing.assert_allclose(bit_probabilities(on_a_line, p), bit_probabilities(logical, p), atol=1e-12)


@pytest.mark.parametrize("n", [2, 5, 12])
def test_on_a_line_only_neighbours_meet_and_counts_are_the_swap_networks(n: int) -> None:
    circuit = line_circuit(n)
    pairs = [
        [circuit.find_bit(q).index for q in instruction.qubits]
        for instruction in circuit.data
        if len(instruction.qubits) == 2
    ]
    assert all(abs(a - b) == 1 for a, b in pairs)
    assert len(pairs) == 3 * n * (n - 1) // 2


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=1, max_size=8))
def test_classical_bit_i_is_variable_i(bits: list[int]) -> None:
    """A warm start without doubt (θ = 0 or π) measures the incumbent, whatever the other angles."""
    n, p = len(bits), random_parameters(len(bits), 3)
    sure = QaoaParameters(np.array(bits) * np.pi, p.field, p.coupling, p.mixer)
    index = sum(bit << i for i, bit in enumerate(bits))
    for circuit in (line_circuit(n), logical_circuit(n)):
        assert bit_probabilities(circuit, sure)[index] == pytest.approx(1.0)
    samples = execute(sure, 50, 0.0, 1)
    np.testing.assert_array_equal(samples.pool, [bits])
    assert samples.counts.tolist() == [50]


def test_values_are_in_the_order_of_the_circuits_parameters() -> None:
    """With twelve variables `theta[10]` sorts by number, and vectors sort by name."""
    p = random_parameters(12, 1)
    circuit = line_circuit(12)
    named = dict(
        zip((parameter.name for parameter in circuit.parameters), parameter_values(circuit, p), strict=True)
    )
    assert len(named) == 12 + 12 + 66 + 1
    assert named["theta[10]"] == p.warm[10]
    assert named["theta[2]"] == p.warm[2]
    assert named["field[11]"] == 2.0 * p.field[0, 11]
    assert named["mixer[0]"] == 2.0 * p.mixer[0]
    pairs = list(itertools.combinations(range(12), 2))
    for k in (0, 11, 40, 65):
        assert named[f"coupling[{k}]"] == 2.0 * p.coupling[0][pairs[k]]


def test_warm_start_angles_by_hand() -> None:
    # Q₀₁ = 2, q = (0, 4): J₀₁ = 1, h = (−1, −3); σ = √((2·1 + 1 + 9)/2) = √6.
    subproblem = Subproblem(np.array([[0.0, 2.0], [2.0, 0.0]]), np.array([0.0, 4.0]))
    coupling, field = subproblem.ising()
    assert coupling[0, 1] == 1.0
    assert field.tolist() == [-1.0, -3.0]
    assert coefficient_scale(coupling, field) == pytest.approx(math.sqrt(6.0))
    p = parameters(subproblem, np.array([0, 1], np.uint8))
    gamma = 0.75 / math.sqrt(6.0)
    assert p.mixer == -0.3
    np.testing.assert_allclose(p.field, [[-gamma, -3.0 * gamma]])
    np.testing.assert_allclose(p.coupling, [[[0.0, gamma], [gamma, 0.0]]])
    np.testing.assert_allclose(np.sin(p.warm / 2.0) ** 2, [0.25, 0.75])


@settings(max_examples=30, deadline=None)
@given(st.floats(-140.0, 140.0))
def test_angles_do_not_depend_on_the_objectives_scale(exponent: float) -> None:
    rng = np.random.default_rng(0)
    upper = np.triu(rng.normal(size=(6, 6)), k=1)
    quadratic, linear, scale = upper + upper.T, rng.normal(size=6), 10.0**exponent
    incumbent = np.zeros(6, np.uint8)
    scaled = parameters(Subproblem(quadratic, linear), incumbent)
    other = parameters(Subproblem(quadratic * scale, linear * scale), incumbent)
    np.testing.assert_allclose(other.coupling, scaled.coupling, rtol=1e-12)
    np.testing.assert_allclose(other.field, scaled.field, rtol=1e-12)


def test_an_objective_without_coefficients_has_no_phases() -> None:
    p = parameters(Subproblem(np.zeros((3, 3)), np.zeros(3)), np.zeros(3, np.uint8))
    assert not p.field.any()
    assert not p.coupling.any()


def test_the_circuit_lowers_the_energy_its_warm_start_begins_with() -> None:
    """Signs of γ and β: on random instances the sampled mean energy falls below the warm start's own."""
    gains = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        upper = np.triu(rng.normal(size=(8, 8)), k=1)
        subproblem = Subproblem(upper + upper.T, rng.normal(size=8))
        p = parameters(subproblem, Greedy().solve(subproblem))
        energies = subproblem.energies(((np.arange(256)[:, None] >> np.arange(8)) & 1).astype(np.uint8))
        before = probabilities(QaoaParameters(p.warm, p.field, p.coupling, np.zeros(1))) @ energies
        gains.append(before - probabilities(p) @ energies)
    assert np.mean(gains) > 0.0
    assert sum(gain > 0.0 for gain in gains) >= 18
