"""The one-layer warm-started QAOA circuit, on a line of qubits and as its definition. Imports Qiskit.

In circuit order: RY(θ); RZ(2γh) and RZZ(2γJ) of every pair; RY(−θ)·RZ(2β)·RY(θ); measurement.
Parameters are the gates' own angles but for θ: `theta` (n), `field` = 2γh (n), `coupling` = 2γJ
(one a pair, in the order (0,1), (0,2), …, (n−2,n−1)) and `mixer` = 2β (1).
"""

from __future__ import annotations

import io
import itertools
from dataclasses import dataclass

import numpy as np
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import ParameterVector

from shotclock.domain.circuit import DeviceCircuit, QaoaParameters
from shotclock.domain.subproblem import Float64s


@dataclass(frozen=True, slots=True)
class _Angles:
    theta: ParameterVector
    field: ParameterVector
    coupling: ParameterVector
    mixer: ParameterVector

    @classmethod
    def symbols(cls, n: int) -> _Angles:
        return cls(
            ParameterVector("theta", n),
            ParameterVector("field", n),
            ParameterVector("coupling", n * (n - 1) // 2),
            ParameterVector("mixer", 1),
        )


def line_circuit(n: int) -> QuantumCircuit:
    """The circuit with every two-qubit gate between neighbours of a line 0, 1, …, n−1.

    n alternating layers of RZZ·SWAP let every pair meet exactly once and reverse the order of the
    variables (Kivlichan et al., arXiv 1711.04789); classical bit i still is variable i. RZZ·SWAP
    takes three CX: CX(a,b) RZ_b CX(b,a) CX(a,b), since the middle two of five cancel.
    """
    circuit, angles = QuantumCircuit(n, n), _Angles.symbols(n)
    _warm_start(circuit, angles, range(n))
    at = list(range(n))  # at[position] is the variable held there
    for layer in range(n):
        for a in range(layer % 2, n - 1, 2):
            b = a + 1
            circuit.cx(a, b)
            circuit.rz(angles.coupling[_pair(at[a], at[b], n)], b)
            circuit.cx(b, a)
            circuit.cx(a, b)
            at[a], at[b] = at[b], at[a]
    _mix_and_measure(circuit, angles, at)
    return circuit


def logical_circuit(n: int) -> QuantumCircuit:
    """The same circuit by its definition: any two qubits may meet, qubit i is variable i."""
    circuit, angles = QuantumCircuit(n, n), _Angles.symbols(n)
    _warm_start(circuit, angles, range(n))
    for i, j in itertools.combinations(range(n), 2):
        circuit.rzz(angles.coupling[_pair(i, j, n)], i, j)
    _mix_and_measure(circuit, angles, range(n))
    return circuit


def parameter_values(circuit: QuantumCircuit, parameters: QaoaParameters) -> Float64s:
    """The parameters' values in the order of `circuit.parameters`, shape (len(circuit.parameters),).

    Qiskit sorts vectors by name and a transpiled circuit may have lost some, so go by name.
    """
    upper = np.triu_indices(parameters.n, k=1)
    vectors = {
        "theta": parameters.warm,
        "field": 2.0 * parameters.field,
        "coupling": 2.0 * parameters.coupling[upper],
        "mixer": np.array([2.0 * parameters.mixer]),
    }
    return np.array([vectors[one.vector.name][one.index] for one in circuit.parameters])


def bound_logical(circuit: DeviceCircuit) -> QuantumCircuit:
    """The call's circuit by its definition, angles filled in: what a simulator should run."""
    logical = logical_circuit(circuit.parameters.n)
    return logical.assign_parameters(parameter_values(logical, circuit.parameters))


def bound_isa(circuit: DeviceCircuit) -> QuantumCircuit:
    """The call's circuit in the device's own instructions, angles filled in."""
    isa = qpy.load(io.BytesIO(circuit.template.qpy))[0]
    return isa.assign_parameters(parameter_values(isa, circuit.parameters))


def _warm_start(circuit: QuantumCircuit, angles: _Angles, at: range) -> None:
    for position, variable in enumerate(at):
        circuit.ry(angles.theta[variable], position)
        circuit.rz(angles.field[variable], position)


def _mix_and_measure(circuit: QuantumCircuit, angles: _Angles, at: list[int] | range) -> None:
    for position, variable in enumerate(at):
        circuit.ry(-angles.theta[variable], position)
        circuit.rz(angles.mixer[0], position)
        circuit.ry(angles.theta[variable], position)
    for position, variable in enumerate(at):
        circuit.measure(position, variable)


def _pair(i: int, j: int, n: int) -> int:
    """Index of the pair {i, j} among all pairs of n in lexical order."""
    i, j = min(i, j), max(i, j)
    return i * n - i * (i + 1) // 2 + j - i - 1
