"""Circuits that are alternating layers of Ising phases and single-qubit gates, recognised as such.

Nothing is taken on trust: from a circuit's rotations (`paulis`) this either derives the parameters of a
QAOA circuit that measures with the same probabilities, or says that there are none. Our templates are
such circuits, compiled to a line of qubits or not; so is any user's QAOA in CZ, SX, X and RZ.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from shotclock.domain.circuit import QaoaParameters
from shotclock.emulator.rest.recognise.paulis import Pauli, Turned

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
    """Layers of couplings, each along one axis a qubit, and every qubit's turns before and after them.

    qubits: which of the circuit's these are; axes and couplings: a layer; turns: shape (layers + 1, n) of
    lists; starts: each qubit's first state, as the axis and the sign of what it is an eigenstate of.
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
        """The next rotation of one qubit."""
        layer = self._at[qubit]
        self.turns[layer][qubit].append(turn)
        # About the layer's own axis it commutes with the layer's couplings.
        self._closed[qubit] |= layer > 0 and turn.axis != self.axes[layer - 1][qubit]

    def couple(self, pair: tuple[int, int], axes: tuple[int, int], sign: int, angle: int) -> None:
        """The next rotation of two qubits: in the last layer that both are still open for."""
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


def layers_of(circuit: Turned) -> tuple[Layers, ...]:
    """The circuit's layers, a `Layers` for each set of qubits that no coupling leads out of.

    () where the circuit is not of this kind.
    """
    starts = {
        one.qubits[0]: (one.axes[0], one.sign)
        for one in map(_local, circuit.stabilisers)
        if one and len(one.qubits) == 1
    }
    rotations = [(_local(pauli), angle) for pauli, angle in circuit.rotations]
    if len(starts) < len(circuit.stabilisers) or not all(one for one, _ in rotations):
        return ()  # it starts entangled, or turns more than two qubits at once
    groups = _join_sets(len(starts), [one.qubits for one, _ in rotations if one])
    found = {group: Layers(group, tuple(starts[qubit] for qubit in group)) for group in set(groups)}
    for one, angle in rotations:
        if one is None:
            continue
        group = groups[one.qubits[0]]
        inside = tuple(group.index(qubit) for qubit in one.qubits)
        if len(inside) == 1:
            found[group].turn(inside[0], Turn(one.axes[0], one.sign, angle))
        else:
            found[group].couple((inside[0], inside[1]), (one.axes[0], one.axes[1]), one.sign, angle)
    return tuple(found[group] for group in sorted(found))


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
    """The set of qubits that each qubit is in, ascending, where these belong together."""
    groups = [{qubit} for qubit in range(n)]
    for qubits in together:
        first, last = groups[qubits[0]], groups[qubits[-1]]
        if first is not last:
            first |= last
            for qubit in last:
                groups[qubit] = first
    return [tuple(sorted(group)) for group in groups]


def parameters_of(layers: Layers, angles: Sequence[float]) -> QaoaParameters | None:
    """The QAOA circuit that measures alike, given the angles; None where the mixers are not of its form."""
    n, count = len(layers.starts), max(1, len(layers.couplings))
    found = QaoaParameters(np.empty(n), np.zeros((count, n)), np.zeros((count, n, n)), np.zeros(count))
    for layer, couplings in enumerate(layers.couplings):
        for one in couplings:
            i, j = one.pair
            found.coupling[layer, i, j] += 0.5 * one.sign * angles[one.angle]
            found.coupling[layer, j, i] = found.coupling[layer, i, j]
    for qubit in range(n):
        zero, one_ = _initial_amplitudes(layers, qubit, angles)
        found.warm[qubit] = 2.0 * math.atan2(abs(one_), abs(zero))
        found.field[0, qubit] += 0.5 * (cmath.phase(one_) - cmath.phase(zero))
    for layer in range(1, len(layers.couplings) + 1):
        mixers = [_between(layers, layer, qubit, angles) for qubit in range(n)]
        if not _mix(found, layer - 1, mixers):
            return None
    return found


def _initial_amplitudes(layers: Layers, qubit: int, angles: Sequence[float]) -> tuple[complex, complex]:
    """The qubit's amplitudes before the first layer, in that layer's basis."""
    axis, sign = layers.starts[qubit]
    a, b, c, d = _times(_between(layers, 0, qubit, angles), TO_AXIS[axis])
    return (a, c) if sign > 0 else (b, d)


def _between(layers: Layers, layer: int, qubit: int, angles: Sequence[float]) -> Matrix:
    """What happens to one qubit after this many layers and before the next, in the layers' bases."""
    found = TO_AXIS[layers.axes[layer - 1][qubit]] if layer else IDENTITY
    for turn in layers.turns[layer][qubit]:
        found = _times(_rotation(turn.axis, turn.sign * angles[turn.angle]), found)
    if layer < len(layers.couplings):
        found = _times(_dagger(TO_AXIS[layers.axes[layer][qubit]]), found)
    return found


def _mix(found: QaoaParameters, layer: int, mixers: Sequence[Matrix]) -> bool:
    """Writes each U = RZ(a)·M(θ, β)·RZ(b) as the layer's mixer and its neighbours' fields.

    M = cos β − i sin β (cos θ Z + sin θ X), so |U01| = |sin β sin θ| must give one β for all qubits.
    """
    sines = np.sin(found.warm)
    sizes = np.array([abs(one[1]) for one in mixers])
    most = int(np.argmax(np.abs(sines)))
    sine = 0.0 if abs(sines[most]) < TOLERANCE else min(1.0, sizes[most] / abs(sines[most]))
    if np.abs(sizes - sine * np.abs(sines)).max() > TOLERANCE:
        return False
    beta = found.mixer[layer] = math.asin(sine)
    for qubit, unitary in enumerate(mixers):
        theta = found.warm[qubit]
        off = -1j * math.sin(beta) * math.sin(theta)
        zero = complex(math.cos(beta), -math.sin(beta) * math.cos(theta))
        after, before = _phases(unitary, (zero, off, off, zero.conjugate()))
        found.field[layer, qubit] += 0.5 * before
        if layer + 1 < found.layers:
            found.field[layer + 1, qubit] += 0.5 * after
    return True


def _phases(unitary: Matrix, mixer: Matrix) -> tuple[float, float]:
    """a and b with unitary = RZ(a)·mixer·RZ(b) but for a global phase; their entries have equal sizes."""
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
    a, b, c, d = (complex(one).conjugate() for one in matrix)
    return (a, c, b, d)
