"""Recognises circuits of alternating layers of Ising phases and single-qubit gates.

Nothing is assumed: from a circuit's rotations (`paulis`) this derives the parameters of a QAOA circuit with
the same measurement probabilities, or reports that none exist. Our templates are such circuits, compiled to
a line of qubits or not; so is any user's QAOA in CZ, SX, X and RZ.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from shotclock.domain.circuit import QaoaParameters
from shotclock.emulator.rest.recognise.paulis import Pauli, PauliCircuit

TOLERANCE = 1e-7
X, Y, Z = range(3)
HALF = math.sqrt(0.5)

Matrix = tuple[complex, complex, complex, complex]  # two by two, row after row
IDENTITY: Matrix = (1, 0, 0, 1)
# W with W·Z·W† = X, Y, Z.
TO_AXIS: tuple[Matrix, Matrix, Matrix] = (
    (HALF, HALF, HALF, -HALF),
    (HALF, HALF, HALF * 1j, -HALF * 1j),
    IDENTITY,
)


@dataclass(frozen=True, slots=True)
class Turn:
    """A rotation of one qubit about an axis, by sign times the angle of this index."""

    axis: int
    sign: int
    angle: int


@dataclass(frozen=True, slots=True)
class Coupling:
    """A rotation about the product of two qubits' axes in a layer."""

    pair: tuple[int, int]
    sign: int
    angle: int


class Layers:
    """Layers of couplings, each along one axis per qubit, and every qubit's turns before and after them.

    qubits: their indices in the circuit
    starts: each qubit's first state, as the axis and the sign of its eigenstate
    axes: of each layer, one per qubit
    couplings: of each layer
    turns: lists of turns, shape (layers + 1, n)
    """

    def __init__(self, qubits: tuple[int, ...], starts: tuple[tuple[int, int], ...]) -> None:
        n = len(starts)
        self.qubits = qubits
        self.starts = starts
        self.axes: list[list[int]] = []
        self.couplings: list[list[Coupling]] = []
        self.turns: list[list[list[Turn]]] = [[[] for _ in range(n)]]
        self._at = [0] * n
        self._closed = [True] * n

    def turn(self, qubit: int, turn: Turn) -> None:
        """Adds the next rotation of one qubit."""
        layer = self._at[qubit]
        self.turns[layer][qubit].append(turn)
        # A turn about the layer's axis commutes with its couplings and does not close the layer.
        self._closed[qubit] |= layer > 0 and turn.axis != self.axes[layer - 1][qubit]

    def couple(self, pair: tuple[int, int], axes: tuple[int, int], sign: int, angle: int) -> None:
        """Adds the next rotation of two qubits, to the latest layer that is open for both."""
        layer = max(self._earliest(qubit, axis) for qubit, axis in zip(pair, axes, strict=True))
        if layer > len(self.couplings):
            self.axes.append([Z] * len(self.starts))
            self.couplings.append([])
            self.turns.append([[] for _ in self.starts])
        for qubit, axis in zip(pair, axes, strict=True):
            self._at[qubit] = layer
            self._closed[qubit] = False
            self.axes[layer - 1][qubit] = axis
        self.couplings[layer - 1].append(Coupling(pair, sign, angle))

    def _earliest(self, qubit: int, axis: int) -> int:
        layer = self._at[qubit]
        open_now = layer > 0 and not self._closed[qubit] and self.axes[layer - 1][qubit] == axis
        return layer if open_now else layer + 1


def layers_of(circuit: PauliCircuit) -> tuple[Layers, ...]:
    """The circuit's layers, one `Layers` for each set of qubits connected by couplings.

    () if the circuit is not of this kind.
    """
    starts = {
        local.qubits[0]: (local.axes[0], local.sign)
        for local in map(_local, circuit.stabilisers)
        if local and len(local.qubits) == 1
    }
    rotations = [(_local(pauli), angle) for pauli, angle in circuit.rotations]
    if len(starts) < len(circuit.stabilisers) or not all(local for local, _ in rotations):
        return ()  # it starts entangled, or a rotation acts on more than two qubits
    groups = _join_sets(len(starts), [local.qubits for local, _ in rotations if local])
    by_group = {group: Layers(group, tuple(starts[qubit] for qubit in group)) for group in set(groups)}
    for local, angle in rotations:
        if local is None:
            continue
        group = groups[local.qubits[0]]
        inside = tuple(group.index(qubit) for qubit in local.qubits)
        if len(inside) == 1:
            by_group[group].turn(inside[0], Turn(local.axes[0], local.sign, angle))
        else:
            axes = (local.axes[0], local.axes[1])
            by_group[group].couple((inside[0], inside[1]), axes, local.sign, angle)
    return tuple(by_group[group] for group in sorted(by_group))


class _Local(NamedTuple):
    """A Pauli string on one or two qubits, ascending, with its axis on each."""

    qubits: tuple[int, ...]
    axes: tuple[int, ...]
    sign: int


def _local(pauli: Pauli) -> _Local | None:
    support = pauli.support
    if support.bit_count() > 2:
        return None
    high, low = support.bit_length() - 1, (support & -support).bit_length() - 1
    qubits = (high,) if high == low else (low, high)
    return _Local(qubits, tuple(_axis(pauli, qubit) for qubit in qubits), pauli.sign)


def _join_sets(n: int, together: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The set of connected qubits, ascending, that each qubit belongs to."""
    groups = [{qubit} for qubit in range(n)]
    for qubits in together:
        first, last = groups[qubits[0]], groups[qubits[-1]]
        if first is not last:
            first |= last
            for qubit in last:
                groups[qubit] = first
    return [tuple(sorted(group)) for group in groups]


def parameters_of(layers: Layers, angles: Sequence[float]) -> QaoaParameters | None:
    """The QAOA circuit with equal probabilities at these angles; None if the mixers have another form."""
    n, count = len(layers.starts), max(1, len(layers.couplings))
    parameters = QaoaParameters(np.empty(n), np.zeros((count, n)), np.zeros((count, n, n)), np.zeros(count))
    for layer, couplings in enumerate(layers.couplings):
        for coupling in couplings:
            i, j = coupling.pair
            parameters.coupling[layer, i, j] += 0.5 * coupling.sign * angles[coupling.angle]
            parameters.coupling[layer, j, i] = parameters.coupling[layer, i, j]
    for qubit in range(n):
        amplitude_0, amplitude_1 = _initial_amplitudes(layers, qubit, angles)
        parameters.warm[qubit] = 2.0 * math.atan2(abs(amplitude_1), abs(amplitude_0))
        parameters.field[0, qubit] += 0.5 * (cmath.phase(amplitude_1) - cmath.phase(amplitude_0))
    for layer in range(1, len(layers.couplings) + 1):
        mixers = [_unitary_between(layers, layer, qubit, angles) for qubit in range(n)]
        if not _set_mixer(parameters, layer - 1, mixers):
            return None
    return parameters


def _initial_amplitudes(layers: Layers, qubit: int, angles: Sequence[float]) -> tuple[complex, complex]:
    """The qubit's amplitudes before the first layer, in that layer's basis."""
    axis, sign = layers.starts[qubit]
    a, b, c, d = _times(_unitary_between(layers, 0, qubit, angles), TO_AXIS[axis])
    return (a, c) if sign > 0 else (b, d)


def _unitary_between(layers: Layers, layer: int, qubit: int, angles: Sequence[float]) -> Matrix:
    """One qubit's unitary after this many layers and before the next, in the layers' bases."""
    unitary = TO_AXIS[layers.axes[layer - 1][qubit]] if layer else IDENTITY
    for turn in layers.turns[layer][qubit]:
        unitary = _times(_rotation(turn.axis, turn.sign * angles[turn.angle]), unitary)
    if layer < len(layers.couplings):
        unitary = _times(_dagger(TO_AXIS[layers.axes[layer][qubit]]), unitary)
    return unitary


def _set_mixer(parameters: QaoaParameters, layer: int, mixers: Sequence[Matrix]) -> bool:
    """Writes each U = RZ(a)·M(θ, β)·RZ(b) as the layer's mixer and its neighbours' fields.

    M = cos β − i sin β (cos θ Z + sin θ X), so |U01| = |sin β sin θ| must give one β for all qubits.
    """
    sines = np.sin(parameters.warm)
    sizes = np.array([abs(mixer[1]) for mixer in mixers])
    most = int(np.argmax(np.abs(sines)))
    sine = 0.0 if abs(sines[most]) < TOLERANCE else min(1.0, sizes[most] / abs(sines[most]))
    if np.abs(sizes - sine * np.abs(sines)).max() > TOLERANCE:
        return False
    beta = parameters.mixer[layer] = math.asin(sine)
    for qubit, unitary in enumerate(mixers):
        theta = parameters.warm[qubit]
        off = -1j * math.sin(beta) * math.sin(theta)
        diagonal = complex(math.cos(beta), -math.sin(beta) * math.cos(theta))
        after, before = _phases(unitary, (diagonal, off, off, diagonal.conjugate()))
        parameters.field[layer, qubit] += 0.5 * before
        if layer + 1 < parameters.layers:
            parameters.field[layer + 1, qubit] += 0.5 * after
    return True


def _phases(unitary: Matrix, mixer: Matrix) -> tuple[float, float]:
    """a and b with unitary = RZ(a)·mixer·RZ(b) up to a global phase; both have entries of equal size."""
    u00, u01, u10, u11 = unitary
    m00, m01, m10, m11 = mixer
    if abs(u01) < TOLERANCE:
        return 0.0, cmath.phase(u11 * m00 / (u00 * m11))
    if abs(u00) < TOLERANCE:
        return 0.0, cmath.phase(u01 * m10 / (u10 * m01))
    return cmath.phase(u10 * m00 / (u00 * m10)), cmath.phase(u01 * m00 / (u00 * m01))


def _rotation(axis: int, angle: float) -> Matrix:
    c, s = math.cos(0.5 * angle), math.sin(0.5 * angle)
    if axis == X:
        return (c, -1j * s, -1j * s, c)
    if axis == Y:
        return (c, -s, s, c)
    return (complex(c, -s), 0, 0, complex(c, s))


def _axis(pauli: Pauli, qubit: int) -> int:
    x, z = pauli.x >> qubit & 1, pauli.z >> qubit & 1
    return Y if x and z else X if x else Z


def _times(left: Matrix, right: Matrix) -> Matrix:
    a, b, c, d = left
    e, f, g, h = right
    return (a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h)


def _dagger(matrix: Matrix) -> Matrix:
    a, b, c, d = (complex(entry).conjugate() for entry in matrix)
    return (a, c, b, d)
