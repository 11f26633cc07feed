"""A circuit's duration on a target. Imports Qiskit: for the worker."""

from __future__ import annotations

from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, ControlFlowOp, ForLoopOp
from qiskit.exceptions import QiskitError
from qiskit.transpiler import Target

from shotclock.emulator.rest.delays import delay_s, delays_of
from shotclock.emulator.rest.prepared import ItemFacts
from shotclock.emulator.rest.programs import BadProgramError, Item

PASSIVE = frozenset({"barrier", "delay"})


def facts_of(item: Item, target: Target) -> ItemFacts:
    """The item's timing figures; raises BadProgramError if its length cannot be computed."""
    circuit = item.circuit
    try:
        length_s = duration_s(circuit, target)
    except (QiskitError, ValueError) as error:
        reason = " ".join(str(error).split()).strip("'")
        raise BadProgramError(f"its duration cannot be computed: {reason}") from error
    used = {qubit for inst in circuit.data if inst.name not in PASSIVE for qubit in inst.qubits}
    return ItemFacts(
        shape=tuple(item.shape),
        shots=item.shots,
        duration_s=length_s,
        depth=circuit.depth(),
        two_qubit_depth=circuit.depth(_on_two_qubits),
        qubits=len(used),
    )


def duration_s(circuit: QuantumCircuit, target: Target) -> float:
    """Scheduled length, seconds; with control flow the longest path, without its latency."""
    # Qiskit's estimate supports neither control flow nor delays in SI units.
    if not circuit.has_control_flow_op() and all(each.operation.unit == "dt" for each in delays_of(circuit)):
        return float(circuit.estimate_duration(target, unit="s"))
    places = tuple(range(circuit.num_qubits))
    return max(_ends_s(circuit, places, target), default=0.0)


def _ends_s(circuit: QuantumCircuit, places: tuple[int, ...], target: Target) -> list[float]:
    """The end of each bit of a block, seconds, with every instruction as soon as its bits are free."""
    free: dict[object, float] = {}
    for item in circuit.data:
        bits = (*item.qubits, *item.clbits)
        start_s = max((free.get(bit, 0.0) for bit in bits), default=0.0)
        inside = tuple(places[circuit.find_bit(qubit).index] for qubit in item.qubits)
        length_s = _length_s(item, inside, target)
        for bit in bits:
            free[bit] = start_s + length_s
    return list(free.values())


def _length_s(item: CircuitInstruction, places: tuple[int, ...], target: Target) -> float:
    if item.name == "delay":
        return delay_s(item, target.dt or 0.0)
    operation = item.operation
    if isinstance(operation, ControlFlowOp):
        once_s = max(
            (max(_ends_s(block, places, target), default=0.0) for block in operation.blocks), default=0.0
        )
        return once_s * len(operation.params[0]) if isinstance(operation, ForLoopOp) else once_s
    by_place = target[operation.name] if operation.name in target.operation_names else None
    properties = by_place.get(places) if by_place else None
    return float(properties.duration or 0.0) if properties is not None else 0.0


def _on_two_qubits(item: CircuitInstruction) -> bool:
    return len(item.qubits) == 2 and item.name not in PASSIVE
