"""T1 and T2 while a qubit waits. For the worker.

Thermal relaxation to the ground state, as of Qiskit Aer's `thermal_relaxation_error`: excitation decays as
exp(−t/T1), coherence as exp(−t/T2). The device's noise is of no memory: an echo restores nothing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ControlFlowOp, Instruction
from qiskit.transpiler import Target

from shotclock.domain.subproblem import Float64s
from shotclock.emulator.rest.recognise.parts import Angles, Part
from shotclock.emulator.rest.waits import delay_s, is_idle

Coherence = Sequence[tuple[float, float]]  # each qubit's T1 and T2, seconds
# A density matrix of so many qubits is as large as a state of 16 and as quick.
DENSITY_QUBITS = 8
# Beyond these a trajectory a shot takes too long: amplitudes × instructions × shots.
TRAJECTORY_WORK = 2.0e10


def snapshot_coherence(target: Target) -> Coherence:
    """The target's own; where it has none, infinite."""
    properties = target.qubit_properties or [None] * (target.num_qubits or 0)
    return [
        (getattr(one, "t1", None) or math.inf, getattr(one, "t2", None) or math.inf) for one in properties
    ]


def relax(
    circuit: QuantumCircuit, places: Sequence[int], coherence: Coherence, target: Target, shots: int
) -> tuple[QuantumCircuit, str]:
    """The circuit with channels for its waits, and Aer's method for it; "" where no qubit waits.

    places: which qubits of the device its qubits are. Idle waits count up to DENSITY_QUBITS, delays up to
    TRAJECTORY_WORK; beyond it the surrogate noise is all there is.
    """
    n = len(places)
    exact = n <= DENSITY_QUBITS
    work = float(2**n) * len(circuit.data) * shots
    if not exact and (work > TRAJECTORY_WORK or not _has_delays(circuit)):
        return circuit, ""
    relaxed, found = _replace(circuit, places, coherence, target, idle=exact)
    return relaxed, ("density_matrix" if exact else "statevector") if found else ""


def _has_delays(circuit: QuantumCircuit) -> bool:
    return any(
        (one.name == "delay" and not is_idle(one))
        or (isinstance(one.operation, ControlFlowOp) and any(map(_has_delays, one.operation.blocks)))
        for one in circuit.data
    )


def _replace(
    circuit: QuantumCircuit, places: Sequence[int], coherence: Coherence, target: Target, *, idle: bool
) -> tuple[QuantumCircuit, int]:
    """Delays as channels, and how many. idle: whether those that `insert_waits` found count too."""
    made, found = circuit.copy_empty_like(), 0
    for one in circuit.data:
        operation = one.operation
        inside = [places[circuit.find_bit(qubit).index] for qubit in one.qubits]
        if one.name == "delay":
            times_s = coherence[inside[0]]
            if min(times_s) < math.inf and (idle or not is_idle(one)):
                made.append(_channel(*times_s, delay_s(operation, target)), one.qubits)
                found += 1
            continue
        if isinstance(operation, ControlFlowOp):
            blocks = [_replace(block, inside, coherence, target, idle=idle) for block in operation.blocks]
            operation = operation.replace_blocks([block for block, _ in blocks])
            found += sum(count for _, count in blocks)
        made.append(operation, one.qubits, one.clbits)
    return made, found


@functools.lru_cache(maxsize=1024)
def _channel(t1_s: float, t2_s: float, wait_s: float) -> Instruction:
    from qiskit_aer.noise import thermal_relaxation_error  # noqa: PLC0415

    channel: Instruction = thermal_relaxation_error(t1_s, min(t2_s, 2.0 * t1_s), wait_s).to_instruction()
    return channel


def find_excited(part: Part, place: int, coherence: Coherence, angles: Angles, rows: Float64s) -> Float64s:
    """Of a part of one qubit that is measured once, the chance of a 1 for each row of values.

    The qubit's Bloch vector, exactly. The part has gates in X, SX, RZ and delays in seconds alone.
    """
    t1_s, t2_s = coherence[place]
    x, y, z = np.zeros(len(rows)), np.zeros(len(rows)), np.ones(len(rows))
    turned = iter((angles.fixed + rows @ angles.slopes.T).T)
    for one in part.instructions:
        if one.name == "rz":
            angle = next(turned)
            c, s = np.cos(angle), np.sin(angle)
            x, y = c * x - s * y, s * x + c * y
        elif one.name == "sx":
            y, z = -z, y
        elif one.name == "x":
            y, z = -y, -z
        elif one.name == "delay":
            wait_s = float(one.operation.duration)
            coherent = math.exp(-wait_s / min(t2_s, 2.0 * t1_s))
            x, y, z = coherent * x, coherent * y, 1.0 - (1.0 - z) * math.exp(-wait_s / t1_s)
    chance: Float64s = np.clip(0.5 * (1.0 - z), 0.0, 1.0)
    return chance
