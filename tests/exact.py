"""Exact probabilities of a compiled circuit, for the tests that hold one circuit against another."""

from __future__ import annotations

from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector

from shotclock.domain.subproblem import Float64s


def exact(circuit: QuantumCircuit) -> Float64s:
    """Probabilities of the classical bits, shape (2ⁿ,); only the qubits in use are simulated."""
    used = sorted({circuit.find_bit(qubit).index for one in circuit.data for qubit in one.qubits})
    small = QuantumCircuit(len(used))
    measured = [0] * circuit.num_clbits
    for one in circuit.data:
        qubits = [used.index(circuit.find_bit(qubit).index) for qubit in one.qubits]
        if one.operation.name == "measure":
            measured[circuit.find_bit(one.clbits[0]).index] = qubits[0]
        elif one.operation.name != "barrier":
            small.append(one.operation, qubits)
    probabilities: Float64s = Statevector(small).probabilities(measured)
    return probabilities
