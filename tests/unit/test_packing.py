"""Packed against alone: the same distributions, in order, on lines that the device has."""

from __future__ import annotations

import functools
import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit, qpy
from qiskit.quantum_info import Statevector
from qiskit.transpiler import Target
from qiskit_ibm_runtime import fake_provider

from harness import random_parameters
from shotclock.circuits.disjoint import disjoint_lines, disjoint_lines_for
from shotclock.circuits.lines import Line, best_line
from shotclock.circuits.packing import PackingError, compose, compose_pub, relocate
from shotclock.circuits.qaoa import parameter_values
from shotclock.circuits.templates import compile_template
from shotclock.domain.circuit import Pub, QaoaCircuit
from shotclock.domain.subproblem import Float64s
from shotclock.emulator import device
from shotclock.emulator.statevector import probabilities

DEVICE = "heron-torino"
MAX_PACKED_QUBITS = 12


@functools.cache
def target_of(fake: str) -> Target:
    return getattr(fake_provider, fake)().target


@functools.cache
def template(n: int) -> tuple[QuantumCircuit, Line]:
    """The ISA circuit on Torino's best line, and the line."""
    compiled = compile_template(n, DEVICE, device.target)
    return qpy.load(io.BytesIO(compiled.qpy))[0], compiled.line


@functools.cache
def lines_for(sizes: tuple[int, ...]) -> tuple[Line, ...]:
    return disjoint_lines_for(target_of("FakeTorino"), sizes)


def pack_circuits(sizes: tuple[int, ...], seed: int) -> tuple[QuantumCircuit, list[Float64s]]:
    """Random circuits of these sizes side by side, and each one's exact probabilities."""
    circuits, alone = [], []
    for number, (n, line) in enumerate(zip(sizes, lines_for(sizes), strict=True)):
        parameters = random_parameters(n, seed + number)
        isa, best = template(n)
        bound = isa.assign_parameters(parameter_values(isa, parameters))
        circuits.append(relocate(bound, best, line, target_of("FakeTorino")))
        alone.append(probabilities(parameters))
    return compose(circuits, isa.num_qubits), alone


def marginals(circuit: QuantumCircuit) -> list[Float64s]:
    """The probabilities of each classical register of a circuit that measures at its end."""
    measured = {
        circuit.find_bit(instruction.clbits[0]).index: circuit.find_bit(instruction.qubits[0]).index
        for instruction in circuit.data
        if instruction.operation.name == "measure"
    }
    at = {qubit: number for number, qubit in enumerate(sorted(measured.values()))}
    narrow = QuantumCircuit(len(at))
    for instruction in circuit.data:
        if instruction.operation.name != "measure":
            narrow.append(
                instruction.operation, [at[circuit.find_bit(qubit).index] for qubit in instruction.qubits]
            )
    state = Statevector(narrow)
    return [
        state.probabilities([at[measured[circuit.find_bit(bit).index]] for bit in register])
        for register in circuit.cregs
    ]


@settings(max_examples=12, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 5), min_size=2, max_size=4).filter(
        lambda all_: sum(all_) <= MAX_PACKED_QUBITS
    ),
    seed=st.integers(0, 1000),
)
def test_packed_is_what_each_would_be_alone_and_in_order(sizes: list[int], seed: int) -> None:
    circuit, alone = pack_circuits(tuple(sizes), seed)
    assert [register.size for register in circuit.cregs] == sizes
    for bits, expected in zip(marginals(circuit), alone, strict=True):
        np.testing.assert_allclose(bits, expected, atol=1e-9)


def test_a_swap_of_equal_sizes_would_be_seen() -> None:
    circuit, (first, second) = pack_circuits((3, 3), seed=5)
    distributions = marginals(circuit)
    np.testing.assert_allclose(distributions[0], first, atol=1e-9)
    assert np.abs(distributions[0] - second).max() > 0.05
    assert np.abs(distributions[0] - first[[int(f"{word:03b}"[::-1], 2) for word in range(8)]]).max() > 0.01


@pytest.mark.parametrize("fake", ["FakeTorino", "FakeFez", "FakeMarrakesh"])
def test_relocated_lines_are_valid_isa_circuits(fake: str) -> None:
    target = target_of(fake)
    compiled = compile_template(6, fake, target_of)
    isa = qpy.load(io.BytesIO(compiled.qpy))[0]
    lines = disjoint_lines(target, 6, at_most=6)
    assert len(lines) == 6
    for line in lines:
        moved = relocate(isa, compiled.line, line, target)
        at = {bit: number for number, bit in enumerate(moved.qubits)}
        used = {
            (instruction.operation.name, tuple(at[bit] for bit in instruction.qubits))
            for instruction in moved.data
        }
        assert all(target.instruction_supported(name, qubits) for name, qubits in used)
        assert {frozenset(qubits) for name, qubits in used if name == "cz"} == set(
            map(frozenset, pairwise(line))
        )
        assert list(moved.parameters) == list(isa.parameters)
        assert moved.count_ops() == isa.count_ops()
        assert moved.estimate_duration(target, unit="s") < 2 * compiled.duration_s


def test_the_whole_is_as_deep_as_the_deepest() -> None:
    circuit, _ = pack_circuits((2, 5, 3), seed=1)
    deepest = template(5)[0]
    assert circuit.depth() == deepest.depth()
    assert circuit.depth(lambda marginal: len(marginal.qubits) == 2) == deepest.depth(
        lambda marginal: len(marginal.qubits) == 2
    )


def test_a_pub_binds_each_circuit_with_its_own_parameters() -> None:
    target = target_of("FakeTorino")
    lines = disjoint_lines_for(target, (3, 2))
    circuits = tuple(
        QaoaCircuit(
            compile_template(len(line), DEVICE, device.target, line=line), random_parameters(len(line), 3)
        )
        for line in lines
    )
    distributions = marginals(compose_pub(Pub(circuits), target.num_qubits))
    for marginal, circuit in zip(distributions, circuits, strict=True):
        np.testing.assert_allclose(marginal, probabilities(circuit.parameters), atol=1e-9)


def test_lines_that_overlap_are_refused() -> None:
    isa, _ = template(3)
    bound = isa.assign_parameters(np.zeros(len(isa.parameters)))
    with pytest.raises(PackingError, match="circuits 0 and 1 both use qubit"):
        compose([bound, bound], isa.num_qubits)


def test_an_unbound_or_too_wide_circuit_is_refused() -> None:
    isa, _ = template(3)
    with pytest.raises(PackingError, match="has no value"):
        compose([isa], isa.num_qubits)
    with pytest.raises(PackingError, match="circuit 0 has 133 qubits, the device 12"):
        compose([isa], 12)


def test_no_relocation_to_where_the_circuit_cannot_run() -> None:
    target = target_of("FakeTorino")
    isa, line = template(2)
    for to_line, message in (
        ((15, 19), "does not work: its error is 1"),
        ((0, 5), "has no cz on qubits"),
        ((0, 1, 2), "cannot replace"),
        ((0, 0), "cannot replace"),
        ((0, 133), "is not on a device of 133 qubits"),
    ):
        with pytest.raises(PackingError, match=message):
            relocate(isa, line, to_line, target)
    with pytest.raises(PackingError, match="which are not on its line"):
        relocate(isa, (0, 1), best_line(target, 2), target)
