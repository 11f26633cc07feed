"""Relaxation (T1 and T2) while a qubit waits. For the worker.

Thermal relaxation to the ground state, as in Qiskit Aer's `thermal_relaxation_error`: excitation decays as
exp(−t/T1), coherence as exp(−t/T2). The noise has no memory: an echo restores nothing.
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
from shotclock.emulator.rest.recognise.parts import Angles, CircuitPart
from shotclock.emulator.rest.waits import delay_s, is_idle

Coherence = Sequence[tuple[float, float]]  # each qubit's T1 and T2, seconds
# A density matrix of this many qubits is as large and as fast as a state of 16 qubits.
DENSITY_QUBITS = 8
# Above this, one trajectory per shot takes too long: amplitudes × instructions × shots.
TRAJECTORY_WORK = 2.0e10


def snapshot_coherence(target: Target) -> Coherence:
    """The target's T1 and T2; infinite if it does not hold them."""
    properties = target.qubit_properties or [None] * (target.num_qubits or 0)
    return [
        (getattr(each, "t1", None) or math.inf, getattr(each, "t2", None) or math.inf) for each in properties
    ]


def relax(
    circuit: QuantumCircuit, places: Sequence[int], coherence: Coherence, target: Target, shots: int
) -> tuple[QuantumCircuit, str]:
    """The circuit with channels for its waits, and Aer's method for it; "" if no qubit waits.

    places: the device's qubits in the circuit's order. Idle waits count up to DENSITY_QUBITS, delays up to
    TRAJECTORY_WORK; larger circuits get only the surrogate noise.
    """
    n = len(places)
    exact = n <= DENSITY_QUBITS
    work = float(2**n) * len(circuit.data) * shots
    if not exact and (work > TRAJECTORY_WORK or not _has_delays(circuit)):
        return circuit, ""
    relaxed, channels = _replace_delays(circuit, places, coherence, target, idle=exact)
    return relaxed, ("density_matrix" if exact else "statevector") if channels else ""


def _has_delays(circuit: QuantumCircuit) -> bool:
    return any(
        (item.name == "delay" and not is_idle(item))
        or (isinstance(item.operation, ControlFlowOp) and any(map(_has_delays, item.operation.blocks)))
        for item in circuit.data
    )


def _replace_delays(
    circuit: QuantumCircuit, places: Sequence[int], coherence: Coherence, target: Target, *, idle: bool
) -> tuple[QuantumCircuit, int]:
    """Replaces delays by channels and counts them. idle: include the delays added by `insert_waits`."""
    relaxed, channels = circuit.copy_empty_like(), 0
    for item in circuit.data:
        operation = item.operation
        inside = [places[circuit.find_bit(qubit).index] for qubit in item.qubits]
        if item.name == "delay":
            times_s = coherence[inside[0]]
            if min(times_s) < math.inf and (idle or not is_idle(item)):
                relaxed.append(_channel(*times_s, delay_s(operation, target)), item.qubits)
                channels += 1
            continue
        if isinstance(operation, ControlFlowOp):
            blocks = [
                _replace_delays(block, inside, coherence, target, idle=idle) for block in operation.blocks
            ]
            operation = operation.replace_blocks([block for block, _ in blocks])
            channels += sum(count for _, count in blocks)
        relaxed.append(operation, item.qubits, item.clbits)
    return relaxed, channels


@functools.lru_cache(maxsize=1024)
def _channel(t1_s: float, t2_s: float, wait_s: float) -> Instruction:
    from qiskit_aer.noise import thermal_relaxation_error  # noqa: PLC0415

    channel: Instruction = thermal_relaxation_error(t1_s, min(t2_s, 2.0 * t1_s), wait_s).to_instruction()
    return channel


def find_excited(
    part: CircuitPart, place: int, coherence: Coherence, angles: Angles, rows: Float64s
) -> Float64s:
    """The probability of a 1 for each row of values, for a part of one qubit that is measured once.

    Follows the qubit's Bloch vector exactly. The part has only X, SX, RZ and delays in seconds.
    """
    t1_s, t2_s = coherence[place]
    x, y, z = np.zeros(len(rows)), np.zeros(len(rows)), np.ones(len(rows))
    turned = iter((angles.fixed + rows @ angles.slopes.T).T)
    for item in part.instructions:
        if item.name == "rz":
            angle = next(turned)
            c, s = np.cos(angle), np.sin(angle)
            x, y = c * x - s * y, s * x + c * y
        elif item.name == "sx":
            y, z = -z, y
        elif item.name == "x":
            y, z = -y, -z
        elif item.name == "delay":
            wait_s = float(item.operation.duration)
            coherent = math.exp(-wait_s / min(t2_s, 2.0 * t1_s))
            x, y, z = coherent * x, coherent * y, 1.0 - (1.0 - z) * math.exp(-wait_s / t1_s)
    chance: Float64s = np.clip(0.5 * (1.0 - z), 0.0, 1.0)
    return chance
