"""What a QPY file would grow to, by the sizes in its headers and without building it.

Each part of the file is read once, by its own lengths, and nothing is allocated by a number in it. The layout
is that of QPY 13 to 18 (`qiskit/qpy/formats.py`); files of other versions are refused, although Qiskit reads
older ones. What fits and is damaged is the reader's to refuse.
"""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from shotclock.domain.circuit_limits import CircuitLimits
from shotclock.domain.circuit_source.qasm_tokens import HUGE
from shotclock.domain.circuit_source.qpy_bytes import Cursor
from shotclock.domain.circuit_source.refusal import Guard
from shotclock.domain.errors import CircuitError

OLDEST, NEWEST = 13, 18
TABLE = 16
"""From this version on the header says where each circuit begins."""
STEP = 50
"""Instructions between two pauses."""
HAS_ANNOTATIONS = 0b1000_0000
ON_EXPRESSION = 0b10
EVOLUTION = b"###PauliEvolutionGate_"
NESTED = frozenset((b"q", b"t", b"v", b"e", b"n", b"m"))
"""Kinds of values that hold, or make, more than their own bytes."""
_SHAPE = re.compile(rb"'shape': \(([0-9, ]{0,99})\)")


@dataclass(frozen=True, slots=True)
class QpyPart:
    """A circuit or a definition: its gates with definitions expanded, and definitions within each other."""

    gates: int = 0
    depth: int = 0


Counted = Generator[None, None, QpyPart]


class QpyCheck:
    """The pass over one file of at most `most` circuits; run `steps` to its end, then `main` holds.

    Limits are of all its circuits together.
    """

    def __init__(self, content: bytes, limits: CircuitLimits, most: int = 1) -> None:
        self.main = QpyPart()
        self._content = content
        self._guard = Guard(limits)
        self._most = most
        self._version = 0
        self._bits = 0  # of all circuits in the file
        self._inner_qubits = 0
        self._instructions = 0
        self._elements = 0
        self._vectors: dict[int, int] = {}

    def steps(self) -> Iterator[None]:
        """Reads on, pausing after every few instructions. Raises CircuitError on what is over a limit."""
        file = Cursor(self._content, 0, len(self._content))
        magic, self._version, programs = file.take("!6sB3xQ")
        if magic != b"QISKIT":
            raise _refuse("not QPY: it does not begin with QISKIT")
        if not OLDEST <= self._version <= NEWEST:
            which = f"QPY version {self._version} is not supported"
            raise _refuse(f"{which}; write one of {OLDEST} to {NEWEST}")
        if not 1 <= programs <= self._most:
            number = "1" if self._most == 1 else f"1 to {self._most}"
            raise _refuse(f"{programs} circuits in one QPY file, must be {number}")
        file.skip(2)  # encoding of symbols, kind of program
        if self._version < TABLE and programs > 1:
            raise _refuse(
                f"{programs} circuits in QPY version {self._version}, which must be {TABLE} or later"
            )
        begins = file.take(f"!{programs}Q") if self._version >= TABLE else (file.at,)
        gates = depth = 0
        for index, begin in enumerate(begins):
            # what lies between two circuits is the layout of the first
            if begin < file.at or (index == 0 and begin > file.at):
                raise _refuse("not QPY: a circuit does not begin behind what comes before it")
            file.skip(begin - file.at)
            part = yield from self._circuit(file, 0)
            gates, depth = gates + part.gates, max(depth, part.depth)
            self._guard.check("gates", gates, "gates, definitions expanded")
        self.main = QpyPart(gates, depth)

    def _circuit(self, file: Cursor, level: int) -> Counted:
        guard = self._guard
        guard.check("nesting", level, "circuits within each other")
        name, kind, phase, qubits, bits, metadata, registers, instructions, variables = file.take(
            "!HcHIIQIQI"
        )
        guard.check_qubits(qubits)
        self._bits += bits
        guard.check("bits", self._bits, "classical bits")
        self._inner_qubits += qubits if level else 0
        guard.check("gates", self._inner_qubits, "qubits of definitions")
        file.skip(name)
        yield from self._value(kind, file.part(phase), level)
        file.skip(metadata)
        for _ in range(registers):
            self._register(file, qubits + bits)
        for _ in range(variables):
            length, declared = file.take("!17xHc")
            file.skip(length + (4 if declared == b"u" else 0))
        if self._version >= 15:
            for _ in range(*file.take("!I")):
                length, state = file.take("!IQ")
                file.skip(length + state)
        if self._version >= 18:
            for _ in range(*file.take("!H")):
                self._vector(file)
        definitions: dict[bytes, QpyPart] = {}
        for _ in range(*file.take("!Q")):
            defined, part = yield from self._definition(file, level)
            definitions[defined] = part
        gates = depth = 0
        for _ in range(instructions):
            part = yield from self._instruction(file, definitions, level)
            gates, depth = min(HUGE, gates + part.gates), max(depth, part.depth)
            guard.check("gates", gates, "gates, definitions expanded")
        guard.check("nesting", depth, "definitions within each other")
        return QpyPart(gates, depth)

    def _register(self, file: Cursor, most: int) -> None:
        size, length = file.take("!2xIHx")
        if self._version < 18:
            file.skip(length + 8 * size)
            return
        (contiguous,) = file.take("!?")
        if contiguous and size > most:
            raise _refuse(f"not QPY: a register of {size} in a circuit of {most} qubits and bits")
        file.skip(length + 4 * (1 if contiguous else size))

    def _definition(self, file: Cursor, level: int) -> Generator[None, None, tuple[bytes, QpyPart]]:
        length, qubits, has_circuit, size, controls, base = file.take("!HxI4x?QI4xQ")
        name = file.text(length)
        self._guard.check_qubits(max(qubits, controls))
        part = QpyPart()
        if has_circuit:
            circuit = file.part(size)
            if not name.startswith(EVOLUTION):
                part = yield from self._circuit(circuit, level + 1)
        if base:
            inner = yield from self._instruction(file.part(base), {}, level + 1, is_base=True)
            part = QpyPart(max(part.gates, inner.gates), max(part.depth, inner.depth))
        return name, part

    def _instruction(
        self, file: Cursor, definitions: dict[bytes, QpyPart], level: int, *, is_base: bool = False
    ) -> Counted:
        """is_base: of the gate that a controlled one is made of, which is written without its qubits."""
        self._instructions += 1
        if self._instructions % STEP == 0:
            yield
        name, label, parameters, qubits, bits, flags, condition, controls = file.take("!HHHIIBH8xI4x")
        part = definitions.get(file.text(name))
        self._guard.check_qubits(controls)
        file.skip(label + condition)
        total = QpyPart(1 + part.gates, part.depth + 1) if part is not None else QpyPart(1)
        if flags & 0b11 == ON_EXPRESSION:
            file.skip(file.take("!cQ")[1])
        if not is_base:
            file.skip(5 * (qubits + bits))
        for _ in range(parameters):
            kind, size = file.take("!cQ")
            value = file.part(size)
            if kind in NESTED:
                inner = yield from self._value(kind, value, level)
                times = total.gates if kind == b"m" else 1
                total = QpyPart(min(HUGE, total.gates + times * inner.gates), max(total.depth, inner.depth))
        if flags & HAS_ANNOTATIONS:
            for _ in range(*file.take("!I")):
                file.skip(file.take("!IQ")[1])
        return total

    def _value(self, kind: bytes, value: Cursor, level: int) -> Counted:
        """What a parameter adds: a nested circuit's gates, a matrix's entries, a power."""
        match kind:
            case b"q":
                return (yield from self._circuit(value, level + 1))
            case b"t":
                self._guard.check("nesting", level, "values within each other")
                gates = 0
                for _ in range(*value.take("!Q")):
                    inner, size = value.take("!cQ")
                    gates += (yield from self._value(inner, value.part(size), level + 1)).gates
                return QpyPart(gates)
            case b"v" if self._version < 18:
                self._vector(value)
            case b"e":
                self._expression(value)
            case b"n":
                return QpyPart(_entries(value))
            case b"m":
                modifier, controls, _, power = value.take("!cIId")
                self._guard.check_qubits(controls)
                if modifier != b"p":
                    return QpyPart(4 * controls**2)
                power = math.ceil(min(HUGE, abs(power))) if math.isfinite(power) else HUGE
                self._guard.check("gates", power, "gates in a power")
                return QpyPart(power)
        return QpyPart()

    def _vector(self, value: Cursor) -> None:
        """A vector; before version 18 each element of one, which makes the whole vector."""
        length, size, root = value.take("!HQ16s")
        index = value.take("!Q")[0] if self._version < 18 else 0
        value.skip(length)
        vector = int.from_bytes(root, "big") - index
        self._elements += max(0, size - self._vectors.get(vector, 0))
        self._vectors[vector] = size
        self._guard.check("terms", self._elements, "elements of parameter vectors")

    def _expression(self, value: Cursor) -> None:
        """Its symbols; the expression itself is as long as its bytes."""
        waiting = [value]
        while waiting:
            value = waiting.pop()
            symbols, size = value.take("!QQ")
            value.skip(size)
            for _ in range(symbols):
                symbol, kind, size = value.take("!ccQ")
                if symbol == b"v" and self._version >= 18:
                    value.skip(10)
                elif symbol == b"v":
                    self._vector(value)
                elif symbol == b"p":
                    value.skip(value.take("!H16x")[0])
                else:
                    raise _refuse("not QPY: an expression has a malformed symbol")
                inner = value.part(size)
                if kind == b"e":
                    waiting.append(inner)


def _entries(value: Cursor) -> int:
    """The entries of a NumPy array, which must be as many as its bytes can hold."""
    shape = _SHAPE.search(value.data, value.at, min(value.end, value.at + 256))
    if shape is None:
        raise _refuse("not QPY: an array has no shape")
    entries = math.prod(int(length) for length in shape[1].split(b",") if length.strip())
    if entries > value.end - value.at:
        raise _refuse(f"not QPY: an array of {min(entries, HUGE)} entries in {value.end - value.at} bytes")
    return entries


def _refuse(what: str) -> CircuitError:
    return CircuitError("source", what)
