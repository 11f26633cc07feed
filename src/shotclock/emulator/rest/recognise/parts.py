"""Splits a circuit into parts that share no gate, whose outcomes are independent. For the worker.

A PUB of templates side by side is a set of small circuits, which a simulator would treat as one large one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Bit, CircuitInstruction, Clbit, Parameter, ParameterExpression, Qubit
from qiskit.converters import circuit_to_dag, dag_to_circuit

from shotclock.domain.subproblem import Float64s
from shotclock.emulator.rest.recognise.paulis import CliffordRzGate
from shotclock.emulator.rest.waits import is_idle

UNITARY = frozenset({"cz", "sx", "x", "rz"})
IDLE = frozenset({"barrier", "id"})


@dataclass(frozen=True, slots=True, eq=False)
class Angles:
    """The angles of a part's RZs, fixed + slopes · values. Shapes (a,), (a, parameters)."""

    fixed: Float64s
    slopes: Float64s

    @property
    def free(self) -> tuple[bool, ...]:
        """For each angle, whether it depends on the values."""
        return tuple(bool(row.any()) for row in self.slopes)


@dataclass(slots=True, eq=False)
class CircuitPart:
    """Connected instructions and their bits, in the circuit's order.

    instructions: in order, without barriers
    qubits, clbits: the bits they use
    whole: the circuit, if it cannot be split, on its used qubits and all its classical bits
    """

    instructions: list[CircuitInstruction] = field(default_factory=list)
    qubits: list[Qubit] = field(default_factory=list)
    clbits: list[Clbit] = field(default_factory=list)
    whole: QuantumCircuit | None = None

    def circuit(self) -> QuantumCircuit:
        """The part as a circuit on its bits, with its parameters."""
        if self.whole is not None:
            return self.whole
        circuit = QuantumCircuit(self.qubits, self.clbits)
        for item in self.instructions:
            circuit.append(item.operation, item.qubits, item.clbits)
        return circuit

    @property
    def has_delays(self) -> bool:
        """Whether it has delays other than idle waits."""
        return any(item.name == "delay" and not is_idle(item) for item in self.instructions)

    def gates(self, parameters: Sequence[Parameter]) -> tuple[tuple[CliffordRzGate, ...], Angles] | None:
        """Its gates in order, without waits and measurements; None if it has gates other than CZ, SX, X and
        RZ, uses a qubit after its measurement, or has an angle that is not linear in the parameters.
        """
        if self.whole is not None:
            return None
        places = {qubit: number for number, qubit in enumerate(self.qubits)}
        gates: list[CliffordRzGate] = []
        angles: list[ParameterExpression | float] = []
        measured: set[Qubit] = set()
        for item in self.instructions:
            if item.name == "delay":
                continue
            if not measured.isdisjoint(item.qubits):
                return None
            if item.name == "measure":
                measured.update(item.qubits)
                continue
            if item.name not in UNITARY:
                return None
            angle = -1
            if item.name == "rz":
                angle = len(angles)
                angles.append(item.params[0])
            gates.append(CliffordRzGate(item.name, tuple([places[qubit] for qubit in item.qubits]), angle))
        linear = _linear(angles, parameters)
        return None if linear is None or len(set(self.clbits)) < len(measured) else (tuple(gates), linear)

    @property
    def measured_qubits(self) -> list[int]:
        """For each classical bit, in order, the qubit last measured into it."""
        places = {qubit: number for number, qubit in enumerate(self.qubits)}
        sources = {item.clbits[0]: item.qubits[0] for item in self.instructions if item.name == "measure"}
        return [places[sources[bit]] for bit in self.clbits]


def parts_of(circuit: QuantumCircuit) -> tuple[CircuitPart, ...]:
    """The parts without barriers; a circuit with control flow is one part."""
    if circuit.has_control_flow_op() or circuit.num_vars > 0:
        whole = _compact(circuit)
        return (CircuitPart(qubits=list(whole.qubits), clbits=list(circuit.clbits), whole=whole),)
    instructions = [item for item in circuit.data if item.name not in IDLE]
    group: dict[Bit, set[Bit]] = {}
    for item in instructions:
        bits = (*item.qubits, *item.clbits)
        for bit in bits:
            if bit not in group:
                group[bit] = {bit}
        if len(bits) > 1:
            _join(group, bits)
    parts: dict[int, CircuitPart] = {}
    visited: set[Bit] = set()
    for item in instructions:
        key = id(group[item.qubits[0]])
        part = parts.setdefault(key, CircuitPart())
        part.instructions.append(item)
        for qubit in item.qubits:
            if qubit not in visited:
                visited.add(qubit)
                part.qubits.append(qubit)
        for clbit in item.clbits:
            if clbit not in visited:
                visited.add(clbit)
                part.clbits.append(clbit)
    return tuple(parts.values())


def _compact(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit on its used qubits, because a simulator would allocate all qubits of the device."""
    dag = circuit_to_dag(circuit)
    touched = {qubit for node in dag.op_nodes() if node.name not in {*IDLE, "delay"} for qubit in node.qargs}
    for node in dag.op_nodes():
        # Keep classical stores, which act on no qubit: the simulator decides about them.
        if node.name in IDLE or (node.qargs and touched.isdisjoint(node.qargs)):
            dag.remove_op_node(node)
    dag.remove_qubits(*(wire for wire in dag.idle_wires() if isinstance(wire, Qubit)))
    return dag_to_circuit(dag)


def _join(group: dict[Bit, set[Bit]], bits: Sequence[Bit]) -> None:
    largest = max((group[bit] for bit in bits), key=len)
    for bit in bits:
        smaller = group[bit]
        if smaller is not largest:
            largest |= smaller
            for member in smaller:
                group[member] = largest


def _linear(angles: Sequence[ParameterExpression | float], parameters: Sequence[Parameter]) -> Angles | None:
    fixed = np.zeros(len(angles))
    slopes = np.zeros((len(angles), len(parameters)))
    places = {parameter: number for number, parameter in enumerate(parameters)}
    for number, angle in enumerate(angles):
        if not isinstance(angle, ParameterExpression):
            fixed[number] = angle
            continue
        fixed[number] = angle.bind(dict.fromkeys(angle.parameters, 0.0)).numeric()
        for parameter in angle.parameters:
            slope = angle.gradient(parameter)
            if isinstance(slope, ParameterExpression) and slope.parameters:
                return None
            slopes[number, places[parameter]] = float(slope)
    return Angles(fixed, slopes)
