"""Samples a program's circuits with the emulator's surrogate noise. For the worker.

A circuit is split into parts that share no gate. A part that is recognised as a QAOA circuit, as our
templates are, runs on the emulator's state vector; a single qubit on its Bloch vector; any other part on
Aer.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.transpiler import Target

from shotclock.domain.circuit import QaoaParameters, Samples, Simulation
from shotclock.domain.subproblem import Float64s
from shotclock.emulator.rest.programs import Item
from shotclock.emulator.rest.recognise.ising import Layers, layers_of, parameters_of
from shotclock.emulator.rest.recognise.parts import Angles, CircuitPart, parts_of
from shotclock.emulator.rest.recognise.paulis import find_rotations
from shotclock.emulator.rest.recognise.twirling import Flips
from shotclock.emulator.rest.relaxation import Coherence, find_excited, relax
from shotclock.emulator.rest.waits import insert_waits
from shotclock.emulator.statevector import execute_all
from shotclock.emulator.user_circuits import sample_circuit

Shots = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
SEEDS = 2**63


@dataclass(frozen=True, slots=True, eq=False)
class Device:
    """A device's durations and coherence. coherence: T1 and T2 of each qubit, seconds."""

    target: Target
    coherence: Coherence


def shoot(
    item: Item, flip_probability: float, seed: int, device: Device, used: list[Simulation] | None = None
) -> tuple[dict[str, Shots], Flips]:
    """Bits of every register, shape (*shape, shots, bits) with bit 0 first, and the flips to undo.

    used: takes how each part of the circuit was simulated.
    """
    rng = np.random.default_rng(seed)
    values, flips = item.values(rng)
    # At λ = 1 the bits do not depend on the circuit, so any width can be sampled.
    if flip_probability >= 1.0:
        bits = _noise(item, rng)
    else:
        bits = _take_shots(item, values, flip_probability, rng, device, [] if used is None else used)
    registers = {
        register.name: bits[..., [item.circuit.find_bit(bit).index for bit in register]]
        for register in item.circuit.cregs
    }
    return registers, flips


def _noise(item: Item, rng: np.random.Generator) -> Shots:
    circuit = item.circuit
    bits = np.zeros((*item.shape, item.shots, circuit.num_clbits), np.bool_)
    clbits = sorted({circuit.find_bit(bit).index for inst in circuit.data for bit in inst.clbits})
    bits[..., clbits] = rng.random((*item.shape, item.shots, len(clbits))) < 0.5
    return bits


def _take_shots(
    item: Item,
    values: Float64s,
    flip_probability: float,
    rng: np.random.Generator,
    device: Device,
    used: list[Simulation],
) -> Shots:
    names = tuple(item.circuit.parameters)
    circuit = item.circuit
    rows = values.reshape(math.prod(item.shape), len(names))
    sweep = _Sweep(names, rows, item.shots, flip_probability, device, used)
    bits = np.zeros((len(sweep.rows), item.shots, circuit.num_clbits), np.bool_)

    @functools.cache
    def waiting() -> tuple[CircuitPart, ...]:
        # Only if needed: scheduling a circuit can take longer than sampling it.
        return parts_of(insert_waits(circuit, device.target))

    for number, part in enumerate(parts_of(circuit)):
        if not part.clbits:
            continue  # not measured
        places = [circuit.find_bit(bit).index for bit in part.clbits]
        is_qaoa = not part.has_delays and len(part.qubits) > 1
        part_bits = _sample_qaoa(part, sweep, rng) if is_qaoa else None
        if part_bits is None:
            scheduled = waiting()[number]
            qubits = [circuit.find_bit(qubit).index for qubit in scheduled.qubits]
            part_bits = _sample_qubit(scheduled, qubits, sweep, rng)
            if part_bits is None:
                part_bits = _sample_with_aer(scheduled, qubits, sweep, rng)
        bits[..., places] = part_bits
    return bits.reshape(*item.shape, item.shots, circuit.num_clbits)


@dataclass(frozen=True, slots=True, eq=False)
class _Sweep:
    """The inputs common to all parts of a circuit.

    names: the parameters
    rows: their values, shape (rows, names)
    shots: per row
    flip_probability: λ of the surrogate noise
    device: durations and coherence
    used: how each part was simulated
    """

    names: tuple[Parameter, ...]
    rows: Float64s
    shots: int
    flip_probability: float
    device: Device
    used: list[Simulation]


def _sample_qubit(
    part: CircuitPart, qubits: list[int], sweep: _Sweep, rng: np.random.Generator
) -> Shots | None:
    """Bits of a part of one qubit, shape (rows, shots, 1); None for more qubits or other gates."""
    if len(qubits) > 1 or len(part.clbits) > 1:
        return None
    read = part.gates(sweep.names)
    if read is None:
        return None
    chance = find_excited(part, qubits[0], sweep.device.coherence, read[1], sweep.rows)
    # A bit replaced by a random one is a 1 half the time.
    noisy = (1.0 - sweep.flip_probability) * chance + 0.5 * sweep.flip_probability
    bits: Shots = rng.random((len(noisy), sweep.shots, 1)) < noisy[:, None, None]
    return bits


def _sample_qaoa(part: CircuitPart, sweep: _Sweep, rng: np.random.Generator) -> Shots | None:
    """The part's classical bits, shape (rows, shots, bits); None if it is not a QAOA circuit."""
    rows, shots = sweep.rows, sweep.shots
    read = part.gates(sweep.names)
    if read is None:
        return None
    gates, angles = read
    groups = layers_of(find_rotations(len(part.qubits), gates, angles.fixed.tolist(), angles.free))
    by_group = [_parameters_by_row(layers, angles, rows) for layers in groups]
    if not groups or not all(by_group):
        return None
    qubits = np.zeros((len(rows), shots, len(part.qubits)), np.bool_)
    for layers, parameters in zip(groups, by_group, strict=True):
        seeds = tuple(int(seed) for seed in rng.integers(0, SEEDS, len(rows)))
        samples = execute_all(parameters, shots, (sweep.flip_probability,) * len(rows), seeds)
        sweep.used.extend(row_samples.simulation for row_samples in samples)
        for row, row_samples in enumerate(samples):
            qubits[row][:, layers.qubits] = _shuffle(row_samples, rng)
    return qubits[..., part.measured_qubits]


def _parameters_by_row(layers: Layers, angles: Angles, rows: Float64s) -> tuple[QaoaParameters, ...]:
    """The parameters of every row; () if one is not a QAOA circuit."""
    by_row: list[QaoaParameters] = []
    for row in rows:
        parameters = parameters_of(layers, (angles.fixed + angles.slopes @ row).tolist())
        if parameters is None:
            return ()
        by_row.append(parameters)
    return tuple(by_row)


def _sample_with_aer(part: CircuitPart, qubits: list[int], sweep: _Sweep, rng: np.random.Generator) -> Shots:
    device = sweep.device
    alone, method = relax(part.circuit(), qubits, device.coherence, device.target, sweep.shots)

    def to_shots(row: Float64s) -> Shots:
        filled = _assign_values(alone, sweep.names, row)
        seed = int(rng.integers(SEEDS))
        samples = sample_circuit(filled, sweep.shots, sweep.flip_probability, seed, method)
        sweep.used.append(samples.simulation)
        return _shuffle(samples, rng)

    return np.stack([to_shots(row) for row in sweep.rows])


def _shuffle(samples: Samples, rng: np.random.Generator) -> Shots:
    """All shots in random order: sorted shots of different parts would be correlated."""
    bits = np.repeat(samples.pool.astype(np.bool_), samples.counts, axis=0)
    shuffled: Shots = rng.permutation(bits, axis=0)
    return shuffled


def _assign_values(circuit: QuantumCircuit, names: tuple[Parameter, ...], values: Float64s) -> QuantumCircuit:
    # Not strict: a parameter may occur only in a delay or in another part.
    return circuit.assign_parameters(dict(zip(names, values, strict=True)), strict=False)
