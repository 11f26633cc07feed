"""Learns a layer's noise on the emulated device: the circuits' time, and the result. For the worker.

The surrogate noise replaces a measured bit by a random one with probability λ: one part at read-out and the
same part λ' for each layer of two-qubit gates (`DeviceFacts.flip_probability_at_depth`). A Pauli of weight w
keeps (1−λ')^w, which is X, Y and Z on every qubit of the layer at the rate −ln(1−λ')/4. The learner reports
these rates. Its circuits take their time but are not simulated, because the result is already known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import CircuitInstruction
from qiskit.quantum_info import PauliLindbladMap, QubitSparsePauliList

from shotclock.domain.subproblem import Float64s
from shotclock.emulator.device import DeviceFacts
from shotclock.emulator.rest.recognise.twirling import Flips

# Nine settings measure all Paulis on neighbouring qubits of a layer (IBM's LayerNoiseLearningOptions).
BASES = 9


@dataclass(frozen=True, slots=True, eq=False)
class Learning:
    """A learning circuit in all its settings and randomizations; it is timed but not simulated."""

    circuit: QuantumCircuit
    shots: int
    shape: tuple[int, ...]

    def values(self, rng: np.random.Generator) -> tuple[Float64s, Flips]:
        """See `Item.values`; draws nothing."""
        del rng
        return np.empty((*self.shape, 0)), {}


@dataclass(frozen=True, slots=True)
class Effort:
    """The learning effort for each layer: options of IBM's learners."""

    pair_depths: tuple[int, ...]
    randomizations: int
    shots: int


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer's gates on the device. qubits: the device's qubits in the circuit's order."""

    circuit: QuantumCircuit
    qubits: tuple[int, ...]

    @property
    def is_measurement(self) -> bool:
        """Whether it measures its qubits, so that the read-out's noise is learned."""
        return any(item.name == "measure" for item in self.circuit.data)

    @property
    def two_qubit_depth(self) -> int:
        """Its depth in two-qubit gates."""
        return int(self.circuit.depth(lambda item: len(item.qubits) == 2 and item.name != "barrier"))

    @property
    def key(self) -> str:
        """Equal for layers with the same gates on the same qubits, in any order."""
        gates = [
            (item.name, sorted(self.qubits[self.circuit.find_bit(qubit).index] for qubit in item.qubits))
            for item in self.circuit.data
            if item.name != "barrier"
        ]
        return repr((sorted(self.qubits), sorted(gates)))


def layer_of(box: CircuitInstruction, place: dict[object, int]) -> Layer:
    """The layer in a box; place: each qubit's index on the device."""
    return Layer(box.operation.body, tuple(place[qubit] for qubit in box.qubits))


def learnings(layer: Layer, effort: Effort, num_qubits: int) -> tuple[Learning, ...]:
    """The circuits that learn a layer on a device of `num_qubits` qubits."""
    if layer.is_measurement:
        return (Learning(_repeat(layer, 0, num_qubits), effort.shots, (effort.randomizations,)),)
    shape = (BASES, effort.randomizations)
    return tuple(
        Learning(_repeat(layer, 2 * pairs, num_qubits), effort.shots, shape) for pairs in effort.pair_depths
    )


def learn(layer: Layer, facts: DeviceFacts) -> PauliLindbladMap:
    """The layer's noise."""
    letters, rate = rates_of(layer, facts)
    terms = [(letter, [qubit], rate) for qubit in range(len(layer.qubits)) for letter in letters]
    return PauliLindbladMap.from_sparse_list(terms, len(layer.qubits))


def generators_of(layer: Layer, letters: Sequence[str]) -> list[QubitSparsePauliList]:
    """The generators of `learn`, one per term, in its order."""
    n = len(layer.qubits)
    return [
        QubitSparsePauliList.from_sparse_list([(letter, [qubit])], n)
        for qubit in range(n)
        for letter in letters
    ]


def rates_of(layer: Layer, facts: DeviceFacts) -> tuple[Sequence[str], float]:
    """The Paulis that are generators on every qubit, and their rate."""
    read_out = facts.flip_probability_at_depth(0, facts.rep_delay_default_s)
    if layer.is_measurement:
        return "X", -0.5 * math.log1p(-read_out)
    flip = facts.flip_probability_at_depth(layer.two_qubit_depth, facts.rep_delay_default_s) - read_out
    return "XYZ", -0.25 * math.log1p(-flip)


def _repeat(layer: Layer, times: int, num_qubits: int) -> QuantumCircuit:
    register = ClassicalRegister(len(layer.qubits), "learned")
    circuit = QuantumCircuit(QuantumRegister(num_qubits, "q"), register)
    for _ in range(times):
        circuit.compose(layer.circuit, layer.qubits, inplace=True)
        circuit.barrier(layer.qubits)
    circuit.measure(layer.qubits, register)
    return circuit
