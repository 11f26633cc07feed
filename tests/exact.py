"""Exact probabilities of a compiled circuit, for the tests that hold one circuit against another."""

from __future__ import annotations

from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector

from shotclock.domain.subproblem import Float64s


def exact(circuit: QuantumCircuit) -> Float64s:
    """Probabilities of the classical bits, shape (2ⁿ,); only the qubits in use are simulated."""
    used = sorted(
        {circuit.find_bit(qubit).index for instruction in circuit.data for qubit in instruction.qubits}
    )
    small = QuantumCircuit(len(used))
    measured = [0] * circuit.num_clbits
    for instruction in circuit.data:
        qubits = [used.index(circuit.find_bit(qubit).index) for qubit in instruction.qubits]
        if instruction.operation.name == "measure":
            measured[circuit.find_bit(instruction.clbits[0]).index] = qubits[0]
        elif instruction.operation.name != "barrier":
            small.append(instruction.operation, qubits)
    probabilities: Float64s = Statevector(small).probabilities(measured)
    return probabilities
