"""How long a circuit takes on a target. Imports Qiskit: for the worker."""

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
    """The item as it will be timed; raises BadProgramError where its length cannot be computed."""
    circuit = item.circuit
    try:
        length_s = duration_s(circuit, target)
    except (QiskitError, ValueError) as error:
        reason = " ".join(str(error).split()).strip("'")
        raise BadProgramError(f"its duration cannot be computed: {reason}") from error
    used = {qubit for one in circuit.data if one.name not in PASSIVE for qubit in one.qubits}
    return ItemFacts(
        shape=tuple(item.shape),
        shots=item.shots,
        duration_s=length_s,
        depth=circuit.depth(),
        two_qubit_depth=circuit.depth(_on_two_qubits),
        qubits=len(used),
    )


def duration_s(circuit: QuantumCircuit, target: Target) -> float:
    """Scheduled length, seconds; with control flow the longest way through it, without its latency."""
    # Qiskit's own estimate takes neither control flow nor delays in SI units.
    if not circuit.has_control_flow_op() and all(one.operation.unit == "dt" for one in delays_of(circuit)):
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
        length_s = _length_s(one, inside, target)
        for bit in bits:
            free[bit] = start_s + length_s
    return list(free.values())


def _length_s(one: CircuitInstruction, places: tuple[int, ...], target: Target) -> float:
    if one.name == "delay":
        return delay_s(one, target.dt or 0.0)
    operation = one.operation
    if isinstance(operation, ControlFlowOp):
        once_s = max(
            (max(_ends_s(block, places, target), default=0.0) for block in operation.blocks), default=0.0
        )
        return once_s * len(operation.params[0]) if isinstance(operation, ForLoopOp) else once_s
    known = target[operation.name] if operation.name in target.operation_names else None
    found = known.get(places) if known else None
    return float(found.duration or 0.0) if found is not None else 0.0


def _on_two_qubits(one: CircuitInstruction) -> bool:
    return len(one.qubits) == 2 and one.name not in PASSIVE
