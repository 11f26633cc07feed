"""A circuit of Clifford gates and RZs as rotations about Pauli strings. Pure Python integers.

Every Clifford gate is pushed to the front of the circuit: RZ(φ) followed by Cliffords V is V followed by
exp(−iφP/2), P = V Z V† (Litinski, A Game of Surface Codes, Quantum 3, 128, section 1). What is left is a
stabiliser state, then rotations, then measurements of the qubits themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

CLIFFORD_TOLERANCE = 1e-12


class Gate(NamedTuple):
    """One gate on the part's own qubits. angle: index of an RZ's angle, −1 for any other gate."""

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
        """Times i^quarters."""
        return Pauli(self.x, self.z, (self.phase + quarters) & 3)

    @property
    def sign(self) -> int:
        """1 or −1 before the string of X, Y and Z; the Pauli is Hermitian."""
        return 1 - ((self.phase - (self.x & self.z).bit_count()) & 3)

    @property
    def support(self) -> int:
        """Mask of the qubits it acts on."""
        return self.x | self.z


class Rotation(NamedTuple):
    """exp(−iφP/2), φ the angle of this index."""

    pauli: Pauli
    angle: int


class Turned(NamedTuple):
    """A circuit: qubit q starts in the +1 eigenspace of stabilisers[q], then the rotations in order."""

    stabilisers: tuple[Pauli, ...]
    rotations: tuple[Rotation, ...]


class _Frame:
    """What the Clifford gates seen so far, the last ones of the circuit, make of each qubit's X and Z."""

    def __init__(self, n: int) -> None:
        self.x = [Pauli(1 << qubit, 0, 0) for qubit in range(n)]
        self.z = [Pauli(0, 1 << qubit, 0) for qubit in range(n)]

    def before(self, gate: Gate) -> None:
        """Takes in the gate just before: V becomes V·gate."""
        qubit = gate.qubits[0]
        if gate.name == "cz":
            other = gate.qubits[1]
            x, z = self.x[qubit], self.z[qubit]
            self.x[qubit] = x.times(self.z[other])
            self.x[other] = self.x[other].times(z)
        elif gate.name == "sx":  # Z becomes −Y = −i·X·Z
            self.z[qubit] = self.x[qubit].times(self.z[qubit]).turn(3)
        elif gate.name == "x":
            self.z[qubit] = self.z[qubit].turn(2)

    def before_quarters(self, qubit: int, quarters: int) -> None:
        """Takes in RZ(quarters · π/2): a quarter makes Y = i·X·Z of X."""
        if quarters & 1:
            self.x[qubit] = self.x[qubit].times(self.z[qubit]).turn(quarters & 3)
        elif quarters & 2:
            self.x[qubit] = self.x[qubit].turn(2)


def find_rotations(n: int, gates: Sequence[Gate], angles: Sequence[float], free: Sequence[bool]) -> Turned:
    """The circuit's rotations; gates: cz, sx, x, rz on n qubits.

    angles: radians; an RZ by a multiple of π/2 is a Clifford gate unless its angle is free, that is,
    differs from row to row of a sweep.
    """
    frame = _Frame(n)
    found: list[Rotation] = []
    for gate in reversed(gates):
        if gate.name != "rz":
            frame.before(gate)
            continue
        quarters = 0.0 if free[gate.angle] else angles[gate.angle] / (0.5 * math.pi)
        nearest = round(quarters)
        if free[gate.angle] or abs(quarters - nearest) > CLIFFORD_TOLERANCE * max(1.0, abs(quarters)):
            found.append(Rotation(frame.z[gate.qubits[0]], gate.angle))
        else:
            frame.before_quarters(gate.qubits[0], nearest & 3)
    return Turned(tuple(frame.z), tuple(reversed(found)))
