"""Shots of a program's circuits: Aer's ideal ones and the emulator's surrogate noise. For the worker."""

from __future__ import annotations

import math

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, Qubit
from qiskit.converters import circuit_to_dag, dag_to_circuit

from shotclock.domain.subproblem import Float64s
from shotclock.emulator.bound import sample_circuit
from shotclock.emulator.rest.programs import Item
from shotclock.emulator.rest.twirling import Flips

Shots = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
SEEDS = 2**63


def shoot(item: Item, flip_probability: float, seed: int) -> tuple[dict[str, Shots], Flips]:
    """Bits of every register, shape (*shape, shots, bits) with bit 0 first; and the flips to undo."""
    rng = np.random.default_rng(seed)
    values, flips = item.values(rng)
    # At λ = 1 the noise model leaves nothing of the circuit, however wide it is.
    taken = _noise(item, rng) if flip_probability >= 1.0 else _taken(item, values, flip_probability, rng)
    registers = {
        register.name: taken[..., [item.circuit.find_bit(bit).index for bit in register]]
        for register in item.circuit.cregs
    }
    return registers, flips


def _noise(item: Item, rng: np.random.Generator) -> Shots:
    circuit = item.circuit
    bits = np.zeros((*item.shape, item.shots, circuit.num_clbits), np.bool_)
    written = sorted({circuit.find_bit(bit).index for one in circuit.data for bit in one.clbits})
    bits[..., written] = rng.random((*item.shape, item.shots, len(written))) < 0.5
    return bits


def _taken(item: Item, values: Float64s, flip_probability: float, rng: np.random.Generator) -> Shots:
    circuit, names = _compact(item.circuit), tuple(item.circuit.parameters)
    rows = values.reshape(math.prod(item.shape), len(names))
    shot = [_row(_filled(circuit, names, row), item.shots, flip_probability, rng) for row in rows]
    return np.stack(shot).reshape(*item.shape, item.shots, circuit.num_clbits)


def _row(circuit: QuantumCircuit, shots: int, flip_probability: float, rng: np.random.Generator) -> Shots:
    samples = sample_circuit(circuit, shots, flip_probability, int(rng.integers(SEEDS)))
    bits = np.repeat(samples.pool.astype(np.bool_), samples.counts, axis=0)
    shuffled: Shots = rng.permutation(bits, axis=0)
    return shuffled


def _filled(circuit: QuantumCircuit, names: tuple[Parameter, ...], values: Float64s) -> QuantumCircuit:
    # Not strict: a parameter may have stood in a delay alone.
    return circuit.assign_parameters(dict(zip(names, values, strict=True)), strict=False)


def _compact(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit on the qubits it touches: a simulator would allocate every qubit of the device.

    Barriers and delays go: they change nothing ideal.
    """
    dag = circuit_to_dag(circuit)
    for node in dag.op_nodes():
        if node.name in {"barrier", "delay"}:
            dag.remove_op_node(node)
    dag.remove_qubits(*(wire for wire in dag.idle_wires() if isinstance(wire, Qubit)))
    return dag_to_circuit(dag)
