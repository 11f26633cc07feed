"""Runs circuits side by side on one chip: moves each to its line and composes them with separate registers.

Nothing is transpiled: a compiled circuit only changes its qubits. Imports Qiskit: for the worker and for
providers that run real circuits.
"""

from __future__ import annotations

from collections.abc import Sequence

from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.transpiler import Target

from shotclock.circuits.lines import Line
from shotclock.circuits.qaoa import bind_isa
from shotclock.domain.circuit import Pub
from shotclock.domain.errors import ShotclockError


class PackingError(ShotclockError, ValueError):
    """Circuits that cannot be placed as requested; names the qubits or the instruction."""

    exit_code = 2


def relocate(circuit: QuantumCircuit, from_line: Line, to_line: Line, target: Target) -> QuantumCircuit:
    """The same ISA circuit on another line, parameters and classical bits kept.

    The k-th qubit of from_line becomes the k-th of to_line. Raises PackingError on lines of different
    lengths, on a circuit that uses qubits outside from_line, and on an instruction that the target does not
    support on its new qubits, or whose error there is 1.
    """
    if not len(from_line) == len(to_line) == len(set(from_line)) == len(set(to_line)):
        raise PackingError(f"line {to_line} cannot replace {from_line}: their qubits do not pair up")
    width = target.num_qubits
    if not all(0 <= qubit < width for qubit in (*from_line, *to_line)):
        raise PackingError(f"line {from_line} or {to_line} is not on a device of {width} qubits")
    stray = _active(circuit) - set(from_line)
    if stray:
        raise PackingError(f"the circuit uses qubits {sorted(stray)}, which are not on its line {from_line}")
    relocated = QuantumCircuit(QuantumRegister(width, "q"), *circuit.cregs)
    idle_from = (qubit for qubit in range(width) if qubit not in from_line)
    idle_to = (qubit for qubit in range(width) if qubit not in to_line)
    place = dict(zip((*from_line, *idle_from), (*to_line, *idle_to), strict=True))
    qubits = [place[index] for index in range(circuit.num_qubits)]
    relocated.compose(circuit, qubits=qubits, clbits=circuit.clbits, inplace=True, copy=False)
    _check_supported(relocated, target)
    return relocated


def compose(circuits: Sequence[QuantumCircuit], n_qubits: int) -> QuantumCircuit:
    """One circuit with all of them side by side; the k-th measures into a separate register `c<k>`.

    The circuits are ISA circuits with bound parameters on disjoint physical qubits; the result is as deep as
    the deepest. Raises PackingError if two share a qubit, one is wider than n_qubits, or a parameter has no
    value.
    """
    whole = QuantumCircuit(QuantumRegister(n_qubits, "q"))
    user_of: dict[int, int] = {}
    for number, circuit in enumerate(circuits):
        if circuit.num_qubits > n_qubits:
            raise PackingError(f"circuit {number} has {circuit.num_qubits} qubits, the device {n_qubits}")
        if circuit.parameters:
            raise PackingError(f"circuit {number}: {circuit.parameters[0]} has no value: bind it first")
        active = _active(circuit)
        for qubit in sorted(active & user_of.keys()):
            raise PackingError(f"circuits {user_of[qubit]} and {number} both use qubit {qubit}")
        user_of.update(dict.fromkeys(active, number))
        register = ClassicalRegister(circuit.num_clbits, f"c{number}")
        whole.add_register(register)
        whole.compose(circuit, range(circuit.num_qubits), register, inplace=True, copy=False)
    return whole


def compose_pub(pub: Pub, n_qubits: int) -> QuantumCircuit:
    """`compose` for a PUB's circuits, each with its parameters bound by name."""
    return compose([bind_isa(circuit) for circuit in pub.circuits], n_qubits)


def _active(circuit: QuantumCircuit) -> set[int]:
    """The qubits that any instruction acts on."""
    return {circuit.find_bit(bit).index for bit in set().union(*(item.qubits for item in circuit.data))}


def _check_supported(circuit: QuantumCircuit, target: Target) -> None:
    index = {qubit: number for number, qubit in enumerate(circuit.qubits)}
    for name, bits in {(item.operation.name, item.qubits) for item in circuit.data}:
        qubits = tuple(index[bit] for bit in bits)
        if not target.instruction_supported(name, qubits):
            raise PackingError(f"the device has no {name} on qubits {qubits}")
        properties = target[name].get(qubits)
        if properties is not None and properties.error is not None and properties.error >= 1.0:
            raise PackingError(f"{name} on qubits {qubits} does not work: its error is 1")
