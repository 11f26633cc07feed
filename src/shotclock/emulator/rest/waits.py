"""How long qubits wait in a circuit: in its delays, and idle while others are busy. For the worker.

Circuits are scheduled as late as possible: every instruction ends when the next one on its bits begins.
"""

from __future__ import annotations

from collections.abc import Mapping

from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, Delay, Qubit
from qiskit.transpiler import Target

IDLE = "idle"
UNITS_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12}


def insert_waits(circuit: QuantumCircuit, target: Target) -> QuantumCircuit:
    """The circuit with its delays in seconds, and with delays labelled IDLE where a qubit waits for others.

    A qubit does not wait before its first gate: it is in its ground state. With control flow, only the
    circuit's delays are known.
    """
    if circuit.has_control_flow_op() or circuit.num_vars > 0:
        return circuit
    after = _idle_s(circuit, target)
    waiting = circuit.copy_empty_like()
    for number, item in enumerate(circuit.data):
        operation, bits = item.operation, item.qubits
        if item.name == "delay":
            waiting.append(Delay(delay_s(operation, target), "s"), bits)
        else:
            waiting.append(operation, bits, item.clbits)
        for qubit, wait_s in after.get(number, {}).items():
            idle = Delay(wait_s, "s")
            idle.label = IDLE
            waiting.append(idle, [qubit])
    return waiting


def delay_s(delay: Delay, target: Target) -> float:
    """A delay's length, seconds."""
    scale = (target.dt or 0.0) if delay.unit == "dt" else UNITS_S[delay.unit]
    return float(delay.duration) * scale


def is_idle(item: CircuitInstruction) -> bool:
    """Whether this is a wait added by `insert_waits`."""
    return bool(item.name == "delay" and item.label == IDLE)


def _idle_s(circuit: QuantumCircuit, target: Target) -> Mapping[int, dict[Qubit, float]]:
    """The wait of each qubit after each instruction, seconds."""
    first: dict[object, int] = {}
    for number, item in enumerate(circuit.data):
        if item.name != "barrier":
            for qubit in item.qubits:
                first.setdefault(qubit, number)
    left_s: dict[object, float] = {}  # from a bit's next instruction to the circuit's end
    after: dict[int, dict[Qubit, float]] = {}
    for number in reversed(range(len(circuit.data))):
        item = circuit.data[number]
        bits = (*item.qubits, *item.clbits)
        end_s = max((left_s.get(bit, 0.0) for bit in bits), default=0.0)
        for qubit in item.qubits:
            wait_s = end_s - left_s.get(qubit, end_s)
            # Sums of a few nanoseconds differ in their last digits.
            if wait_s > 1e-12 and first.get(qubit, number + 1) <= number:
                after.setdefault(number, {})[qubit] = wait_s
        begin_s = end_s + _length_s(circuit, item, target)
        left_s.update(dict.fromkeys(bits, begin_s))
    return after


def _length_s(circuit: QuantumCircuit, item: CircuitInstruction, target: Target) -> float:
    if item.name == "delay":
        return delay_s(item.operation, target)
    if item.name not in target.operation_names:
        return 0.0
    places = tuple(circuit.find_bit(qubit).index for qubit in item.qubits)
    properties = target[item.name].get(places)
    return float(properties.duration or 0.0) if properties is not None else 0.0
