"""What single OpenQASM statements declare and run, counted without building it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shotclock.domain.circuit_source.qasm_parts import QasmPart, modify, read_modifiers
from shotclock.domain.circuit_source.qasm_tokens import HUGE, Token, bracket_end, count_of, fold, split
from shotclock.domain.circuit_source.refusal import Guard

INCLUDES = ("stdgates.inc", "qelib1.inc")
_TYPES = ("int", "uint", "float", "angle", "complex", "bool", "duration", "stretch", "array")
INERT = frozenset(("OPENQASM", "barrier", "extern", "opaque", "break", "continue", "end", "return", *_TYPES))
"""Statements that make no gate; declarations of these types are the reader's to refuse."""
PREFIXES = ("input", "output", "const", "readonly", "mutable")


@dataclass(slots=True)
class Counts:
    """The totals of a program, and the names that later statements refer to.

    guard: refuses what is over a limit.
    declared: qubits by declarations.
    physical: qubits by the highest `$number`.
    bits: classical bits declared.
    parts: finished definitions by their names.
    registers: the sizes of registers and aliases.
    constants: the values of constants by their names.
    """

    guard: Guard
    declared: int = 0
    physical: int = 0
    bits: int = 0
    parts: dict[str, QasmPart] = field(default_factory=dict)
    registers: dict[str, int] = field(default_factory=dict)
    constants: dict[str, int] = field(default_factory=dict)

    def use_physical(self, qubit: Token) -> None:
        """`$number`: the reader makes every qubit up to it."""
        self.physical = max(self.physical, int(qubit.text[1:]) + 1)
        self.guard.check_qubits(self.physical, qubit.at)

    def loop(self, statement: Sequence[Token], begin: int) -> tuple[int, int]:
        """How often a loop's body is run, 1 where only running tells; and where the body begins."""
        inside = next((i for i in range(begin, len(statement)) if statement[i].text == "in"), None)
        if inside is None or inside + 1 >= len(statement):
            return 1, len(statement)
        opening = statement[inside + 1].text
        if opening not in {"[", "{"}:
            return 1, inside + 2
        end = bracket_end(statement, inside + 1)
        items = statement[inside + 2 : end] if opening == "[" else statement[inside + 1 : end + 1]
        count = count_of(items, self.constants)
        return (1 if count is None else count), end + 1

    def read(self, statement: Sequence[Token], times: int, part: QasmPart) -> None:
        """One simple statement, run so many times. Raises CircuitError on what is over a limit."""
        while statement[0].text in PREFIXES and len(statement) > 1:
            if statement[0].text == "const":
                self._define_constant(statement)
            statement = statement[1:]
        first = statement[0]
        match first.text:
            case "qubit" | "bit" | "qreg" | "creg":
                self._declare(statement, times, part)
            case "let":
                self._alias(statement, part)
            case "include":
                self._include(statement)
            case "measure" | "reset":
                self._add(part, times * self._width(next(split(statement[1:], "->"))), first.at)
            case "delay":
                operands = statement[bracket_end(statement, 1) + 1 :]
                self._add(
                    part, times * sum(self._width(operand) for operand in split(operands, ",")), first.at
                )
            case word if word in INERT:
                pass
            case _:
                self._run(statement, times, part)

    def _define_constant(self, statement: Sequence[Token]) -> None:
        equals = _find(statement, "=")
        value = fold(statement[equals + 1 :], self.constants) if equals else None
        if value is not None:
            self.constants[statement[equals - 1].text] = value

    def _declare(self, statement: Sequence[Token], times: int, part: QasmPart) -> None:
        """`qubit[n] q`, `bit[n] c = measure q`, `qreg q[n]`, and their like without a size."""
        kind = statement[0]
        size_first = kind.text in {"qubit", "bit"}
        opening = 1 if size_first else 2
        name, size = statement[1] if len(statement) > 1 else kind, 1
        if len(statement) > opening and statement[opening].text == "[":
            end = bracket_end(statement, opening)
            # The reader takes nothing but a constant of at least 0.
            size = max(0, fold(statement[opening + 1 : end], self.constants) or 0)
            if size_first and len(statement) > end + 1:
                name = statement[end + 1]
        self.registers[name.text] = size
        if kind.text in {"qubit", "qreg"}:
            self.declared += size
            self.guard.check_qubits(self.declared, kind.at)
        else:
            self.bits += size
            self.guard.check("bits", self.bits, "classical bits", kind.at)
        if _find(statement, "measure"):
            self._add(part, times * size, kind.at)

    def _alias(self, statement: Sequence[Token], part: QasmPart) -> None:
        """`let a = q[0:2] ++ r`: it holds no qubit or bit twice."""
        equals = _find(statement, "=")
        if equals:
            size = self._width(statement[equals + 1 :])
            self.guard.check("bits", size, "qubits or bits in an alias", statement[0].at)
            self._add(part, size, statement[0].at)
            self.registers[statement[equals - 1].text] = size

    def _include(self, statement: Sequence[Token]) -> None:
        for file in statement[1:2]:
            if file.kind == "string" and file.text[1:-1] not in INCLUDES:
                what = f"{file.text[:80]} cannot be included; only stdgates.inc can"
                raise self.guard.syntax(what, statement[0].at)

    def _run(self, statement: Sequence[Token], times: int, part: QasmPart) -> None:
        """An assignment, or a gate with its modifiers, parameters and operands."""
        at = statement[0].at
        if measured := _find(statement, "measure"):
            self._add(part, times * self._width(statement[measured + 1 :]), at)
            return
        modifiers, begin = read_modifiers(statement, self.constants)
        if begin >= len(statement) or statement[begin].kind != "name":
            return
        name, begin = statement[begin].text, begin + 1
        arguments: Sequence[Token] = ()
        for opening in "([":  # parameters, then a duration
            if begin < len(statement) and statement[begin].text == opening:
                end = bracket_end(statement, begin)
                if opening == "(":
                    arguments = statement[begin + 1 : end]
                begin = end + 1
        operands = list(split(statement[begin:], ","))
        times = min(HUGE, times * max(self._width(operand) for operand in operands))
        definition = self.parts.get(name)
        part.call(definition, arguments, times)
        what = "terms in the gates' parameters, definitions expanded"
        self.guard.check("terms", part.terms + part.per_parameter, what, at)
        gates = 1 + (definition.gates if definition else 0)
        self._add(part, times * modify(gates, modifiers, len(operands)), at)

    def _add(self, part: QasmPart, gates: int, at: int) -> None:
        part.gates = min(HUGE, part.gates + gates)
        self.guard.check("gates", part.gates, "gates, definitions expanded", at)

    def _width(self, operand: Sequence[Token]) -> int:
        """How many qubits or bits an operand stands for, at most."""
        if len(operand) == 4 and operand[2].kind == "number":  # `q[3]`
            return 1
        return sum(self._width_of_one(part) for part in split(operand, "++"))

    def _width_of_one(self, operand: Sequence[Token]) -> int:
        if not operand:
            return 1
        size = self.registers.get(operand[0].text, 1)
        begin = 1
        while begin < len(operand) and operand[begin].text == "[":
            end = bracket_end(operand, begin)
            count = count_of(operand[begin + 1 : end], self.constants, size)
            size = size if count is None else min(size, count)
            begin = end + 1
        return size


def _find(statement: Sequence[Token], text: str) -> int:
    """The index of the first such token after the first one; 0 where no such token follows."""
    texts = [token.text for token in statement]
    return texts.index(text, 1) if text in texts[1:] else 0
