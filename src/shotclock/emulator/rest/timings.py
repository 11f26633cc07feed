"""How long a circuit takes on a target. Imports Qiskit: for the worker."""

from __future__ import annotations

from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, ControlFlowOp
from qiskit.transpiler import Target

from shotclock.emulator.rest.prepared import ItemFacts
from shotclock.emulator.rest.programs import Item

PASSIVE = frozenset({"barrier", "delay"})


def facts_of(item: Item, target: Target) -> ItemFacts:
    """The item as it will be timed."""
    circuit = item.circuit
    used = {qubit for one in circuit.data if one.operation.name not in PASSIVE for qubit in one.qubits}
    return ItemFacts(
        shape=tuple(item.shape),
        shots=item.shots,
        duration_s=duration_s(circuit, target),
        depth=circuit.depth(),
        two_qubit_depth=circuit.depth(_on_two_qubits),
        qubits=len(used),
    )


def duration_s(circuit: QuantumCircuit, target: Target) -> float:
    """Scheduled length, seconds; with control flow the longest way through it, without its latency."""
    if not circuit.has_control_flow_op():
        return float(circuit.estimate_duration(target, unit="s"))
    places = tuple(range(circuit.num_qubits))
    return max(_ends_s(circuit, places, target), default=0.0)


def _ends_s(circuit: QuantumCircuit, places: tuple[int, ...], target: Target) -> list[float]:
    """When each qubit of a block is done, each instruction as soon as its bits are free; seconds."""
    free: dict[object, float] = {}
    for one in circuit.data:
        bits = (*one.qubits, *one.clbits)
        start_s = max((free.get(bit, 0.0) for bit in bits), default=0.0)
        inside = tuple(places[circuit.find_bit(qubit).index] for qubit in one.qubits)
        for bit in bits:
            free[bit] = start_s + _length_s(one, inside, target)
    return list(free.values())


def _length_s(one: CircuitInstruction, places: tuple[int, ...], target: Target) -> float:
    operation = one.operation
    if isinstance(operation, ControlFlowOp):
        return max(
            (max(_ends_s(block, places, target), default=0.0) for block in operation.blocks), default=0.0
        )
    if operation.name == "delay":
        scale = {"dt": target.dt or 0.0, "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
        return float(operation.duration) * scale.get(operation.unit, 0.0)
    known = target[operation.name] if operation.name in target.operation_names else None
    found = known.get(places) if known else None
    return float(found.duration or 0.0) if found is not None else 0.0


def _on_two_qubits(one: CircuitInstruction) -> bool:
    return len(one.qubits) == 2 and one.operation.name not in PASSIVE
