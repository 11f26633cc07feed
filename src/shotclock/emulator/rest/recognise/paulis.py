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
    between the rows of a sweep.
    """
    frame = _Frame(n)
    rotations: list[Rotation] = []
    for gate in reversed(gates):
        if gate.name != "rz":
            frame.prepend(gate)
            continue
        quarters = 0.0 if free[gate.angle] else angles[gate.angle] / (0.5 * math.pi)
        nearest = round(quarters)
        if free[gate.angle] or abs(quarters - nearest) > CLIFFORD_TOLERANCE * max(1.0, abs(quarters)):
            rotations.append(Rotation(frame.z[gate.qubits[0]], gate.angle))
        else:
            frame.prepend_quarters(gate.qubits[0], nearest & 3)
    return PauliCircuit(tuple(frame.z), tuple(reversed(rotations)))
