"""A circuit cut into parts that share no gate, whose outcomes are independent. For the worker.

A PUB of templates side by side is as many small circuits, which no simulator can be expected to notice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Bit, CircuitInstruction, Clbit, Parameter, ParameterExpression, Qubit
from qiskit.converters import circuit_to_dag, dag_to_circuit

from shotclock.domain.subproblem import Float64s
from shotclock.emulator.rest.recognise.paulis import Gate
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
        """Which of them depend on the values at all."""
        return tuple(bool(row.any()) for row in self.slopes)


@dataclass(slots=True, eq=False)
class Part:
    """Instructions that belong together, and the bits they touch, in the circuit's order.

    whole: a circuit that cannot be cut, on the qubits it touches and all its classical bits.
    """

    instructions: list[CircuitInstruction] = field(default_factory=list)
    qubits: list[Qubit] = field(default_factory=list)
    clbits: list[Clbit] = field(default_factory=list)
    whole: QuantumCircuit | None = None

    def circuit(self) -> QuantumCircuit:
        """The part alone, on its own bits; parameters stay."""
        if self.whole is not None:
            return self.whole
        alone = QuantumCircuit(self.qubits, self.clbits)
        for one in self.instructions:
            alone.append(one.operation, one.qubits, one.clbits)
        return alone

    @property
    def has_delays(self) -> bool:
        """Whether the circuit's own delays are in it, idle waits aside."""
        return any(one.name == "delay" and not is_idle(one) for one in self.instructions)

    def gates(self, parameters: Sequence[Parameter]) -> tuple[tuple[Gate, ...], Angles] | None:
        """Its gates in order, without waits and measurements; None where there are others than CZ, SX, X and
        RZ, a qubit goes on after it was measured, or an angle is not linear in the parameters.
        """
        if self.whole is not None:
            return None
        places = {qubit: number for number, qubit in enumerate(self.qubits)}
        gates: list[Gate] = []
        angles: list[ParameterExpression | float] = []
        measured: set[Qubit] = set()
        for one in self.instructions:
            if one.name == "delay":
                continue
            if not measured.isdisjoint(one.qubits):
                return None
            if one.name == "measure":
                measured.update(one.qubits)
                continue
            if one.name not in UNITARY:
                return None
            angle = -1
            if one.name == "rz":
                angle = len(angles)
                angles.append(one.params[0])
            gates.append(Gate(one.name, tuple([places[qubit] for qubit in one.qubits]), angle))
        linear = _linear(angles, parameters)
        return None if linear is None or len(set(self.clbits)) < len(measured) else (tuple(gates), linear)

    @property
    def measured_qubits(self) -> list[int]:
        """Of each of its classical bits, in their order, the qubit that is measured into it last."""
        places = {qubit: number for number, qubit in enumerate(self.qubits)}
        sources = {one.clbits[0]: one.qubits[0] for one in self.instructions if one.name == "measure"}
        return [places[sources[bit]] for bit in self.clbits]


def parts_of(circuit: QuantumCircuit) -> tuple[Part, ...]:
    """The parts, without barriers, which change nothing; a circuit with control flow is one part."""
    if circuit.has_control_flow_op() or circuit.num_vars > 0:
        whole = _compact(circuit)
        return (Part(qubits=list(whole.qubits), clbits=list(circuit.clbits), whole=whole),)
    kept = [one for one in circuit.data if one.name not in IDLE]
    group: dict[Bit, set[Bit]] = {}
    for one in kept:
        bits = (*one.qubits, *one.clbits)
        for bit in bits:
            if bit not in group:
                group[bit] = {bit}
        if len(bits) > 1:
            _join(group, bits)
    parts: dict[int, Part] = {}
    seen: set[Bit] = set()
    for one in kept:
        key = id(group[one.qubits[0]])
        part = parts.setdefault(key, Part())
        part.instructions.append(one)
        for qubit in one.qubits:
            if qubit not in seen:
                seen.add(qubit)
                part.qubits.append(qubit)
        for clbit in one.clbits:
            if clbit not in seen:
                seen.add(clbit)
                part.clbits.append(clbit)
    return tuple(parts.values())


def _compact(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit on the qubits it touches: a simulator would allocate every qubit of the device."""
    dag = circuit_to_dag(circuit)
    touched = {qubit for node in dag.op_nodes() if node.name not in {*IDLE, "delay"} for qubit in node.qargs}
    for node in dag.op_nodes():
        # A classical store acts on no qubit, and it is the simulator that decides about it.
        if node.name in IDLE or (node.qargs and touched.isdisjoint(node.qargs)):
            dag.remove_op_node(node)
    dag.remove_qubits(*(wire for wire in dag.idle_wires() if isinstance(wire, Qubit)))
    return dag_to_circuit(dag)


def _join(group: dict[Bit, set[Bit]], bits: Sequence[Bit]) -> None:
    largest = max((group[bit] for bit in bits), key=len)
    for bit in bits:
        other = group[bit]
        if other is not largest:
            largest |= other
            for one in other:
                group[one] = largest


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
