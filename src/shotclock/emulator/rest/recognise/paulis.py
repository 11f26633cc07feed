"""Rewrites a circuit of Clifford gates and RZs as rotations about Pauli strings. Pure Python integers.

Every Clifford gate is moved to the front of the circuit: RZ(φ) followed by Cliffords V is V followed by
exp(−iφP/2), P = V Z V† (Litinski, A Game of Surface Codes, Quantum 3, 128, section 1). The result is a
stabiliser state, then rotations, then measurements of the qubits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

CLIFFORD_TOLERANCE = 1e-12


class CliffordRzGate(NamedTuple):
    """One gate on the part's qubits. angle: index of an RZ's angle, −1 for any other gate."""

    name: str
    qubits: tuple[int, ...]
    angle: int = -1


class Pauli(NamedTuple):
    """i^phase · X^x · Z^z; x and z are masks of qubits, so that Y is X·Z with phase 1."""

    x: int
    z: int
    phase: int

    def times(self, other: Pauli) -> Pauli:
        """The product, this one on the left."""
        crossed = 2 * (self.z & other.x).bit_count()
        return Pauli(self.x ^ other.x, self.z ^ other.z, (self.phase + other.phase + crossed) & 3)

    def turn(self, quarters: int) -> Pauli:
        """The product with i^quarters."""
        return Pauli(self.x, self.z, (self.phase + quarters) & 3)

    def commutes_with(self, other: Pauli) -> bool:
        """Whether the order of the two does not matter."""
        return not ((self.x & other.z).bit_count() + (self.z & other.x).bit_count()) & 1

    @property
    def sign(self) -> int:
        """1 or −1 before the string of X, Y and Z; the Pauli is Hermitian."""
        return 1 - ((self.phase - (self.x & self.z).bit_count()) & 3)

    @property
    def support(self) -> int:
        """Bit mask of the qubits it acts on."""
        return self.x | self.z


class Rotation(NamedTuple):
    """exp(−iφP/2), φ the angle of this index."""

    pauli: Pauli
    angle: int


class PauliCircuit(NamedTuple):
    """A circuit that starts in the +1 eigenspace of all stabilisers, followed by rotations in order."""

    stabilisers: tuple[Pauli, ...]
    rotations: tuple[Rotation, ...]


class _Frame:
    """Each qubit's X and Z conjugated by the circuit's last Clifford gates, which are added back to front."""

    def __init__(self, n: int) -> None:
        self.x = [Pauli(1 << qubit, 0, 0) for qubit in range(n)]
        self.z = [Pauli(0, 1 << qubit, 0) for qubit in range(n)]

    def prepend(self, gate: CliffordRzGate) -> None:
        """Adds the preceding gate: V becomes V·gate."""
        qubit = gate.qubits[0]
        if gate.name == "cz":
            second = gate.qubits[1]
            x, z = self.x[qubit], self.z[qubit]
            self.x[qubit] = x.times(self.z[second])
            self.x[second] = self.x[second].times(z)
        elif gate.name == "sx":  # Z becomes −Y = −i·X·Z
            self.z[qubit] = self.x[qubit].times(self.z[qubit]).turn(3)
        elif gate.name == "x":
            self.z[qubit] = self.z[qubit].turn(2)

    def prepend_quarters(self, qubit: int, quarters: int) -> None:
        """Adds a preceding RZ(quarters · π/2): a quarter turns X into Y = i·X·Z."""
        if quarters & 1:
            self.x[qubit] = self.x[qubit].times(self.z[qubit]).turn(quarters & 3)
        elif quarters & 2:
            self.x[qubit] = self.x[qubit].turn(2)


def find_rotations(
    n: int, gates: Sequence[CliffordRzGate], angles: Sequence[float], free: Sequence[bool]
) -> PauliCircuit:
    """The circuit's rotations; gates: cz, sx, x, rz on n qubits.

    angles: radians; an RZ by a multiple of π/2 is a Clifford gate unless its angle is free, that is, varies
    between the rows of a sweep. So are two that add up to one, as a transpiler writes an X by any two angles.
    """
    frame = _Frame(n)
    rotations: list[Rotation] = []  # back to front
    latest: dict[int, int] = {}  # index in `rotations` of a qubit's last one
    for gate in reversed(gates):
        if gate.name != "rz":
            frame.prepend(gate)
            continue
        qubit = gate.qubits[0]
        pauli, is_free = frame.z[qubit], free[gate.angle]
        quarters = None if is_free else _count_quarters(angles[gate.angle])
        partner = _find_partner(pauli, latest.get(qubit), rotations)
        if quarters is None and partner is not None and not (is_free or free[rotations[partner].angle]):
            other = rotations[partner]
            total = angles[gate.angle] + pauli.sign * other.pauli.sign * angles[other.angle]
            quarters = _count_quarters(total)
            if quarters is not None:
                del rotations[partner]
                del latest[qubit]
                latest = {at: number - (number > partner) for at, number in latest.items()}
        if quarters is None:
            latest[qubit] = len(rotations)
            rotations.append(Rotation(pauli, gate.angle))
        else:
            frame.prepend_quarters(qubit, quarters & 3)
    return PauliCircuit(tuple(frame.z), tuple(reversed(rotations)))


def _count_quarters(angle: float) -> int | None:
    """The angle in quarter turns; None where it is not a whole number of them."""
    quarters = angle / (0.5 * math.pi)
    nearest = round(quarters)
    return nearest if abs(quarters - nearest) <= CLIFFORD_TOLERANCE * max(1.0, abs(quarters)) else None


def _find_partner(pauli: Pauli, number: int | None, rotations: Sequence[Rotation]) -> int | None:
    """The number of the rotation, if it is about the same axis and commutes with all in between."""
    if number is None:
        return None
    other = rotations[number].pauli
    if (other.x, other.z) != (pauli.x, pauli.z):
        return None
    is_movable = all(pauli.commutes_with(between.pauli) for between in rotations[number + 1 :])
    return number if is_movable else None
