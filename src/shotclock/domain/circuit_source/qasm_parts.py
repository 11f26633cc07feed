"""What gate definitions and modified gates expand to, by arithmetic on counts. No Qiskit, no expansion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shotclock.domain.circuit_source.qasm_tokens import HUGE, Token, bracket_end, fold

MODIFIERS = ("inv", "pow", "ctrl", "negctrl")
CONSTANT_NAMES = ("pi", "tau", "euler", "π", "τ", "ℇ")
MOST_MATRIX_QUBITS = 30
"""With as many, the 4ⁿ entries of a power's matrix are over every limit; more need not be computed."""


@dataclass(slots=True)
class QasmPart:
    """The main program or one definition: what it expands to so far.

    name: "" of the main program.
    parameters: names of the definition's parameters.
    gates: see `CircuitLimits.gates`.
    depth: definitions within each other.
    per_parameter, terms: the terms of all its gates' parameters are at most per_parameter for each term
    of its parameters, plus terms.
    """

    name: str = ""
    parameters: frozenset[str] = frozenset()
    gates: int = 0
    depth: int = 0
    per_parameter: int = 0
    terms: int = 0

    def call(self, definition: QasmPart | None, arguments: Sequence[Token], times: int) -> None:
        """Counts the depth and the terms of a gate; definition: None of a standard gate.

        Parameters without a symbol are evaluated at once and cost nothing.
        """
        if definition is not None:
            self.depth = max(self.depth, definition.depth + 1)
        if not arguments:
            return
        symbols = [
            token.text for token in arguments if token.kind == "name" and token.text not in CONSTANT_NAMES
        ]
        if not symbols:
            return
        own = sum(symbol in self.parameters for symbol in symbols)
        others = sum(token.kind != "sign" for token in arguments) - own
        each, inner = (definition.per_parameter + 1, definition.terms) if definition is not None else (1, 0)
        self.per_parameter = min(HUGE, self.per_parameter + times * own * each)
        self.terms = min(HUGE, self.terms + times * (others * each + inner))


def define(header: Sequence[Token]) -> QasmPart:
    """The empty definition that `gate name(a, b) q, r` or a `def` begins."""
    name = header[1].text if len(header) > 1 else ""
    if len(header) < 3 or header[2].text != "(":
        return QasmPart(name)
    inside = header[3 : bracket_end(header, 2)]
    return QasmPart(name, frozenset(token.text for token in inside if token.kind == "name"))


def read_modifiers(
    statement: Sequence[Token], constants: dict[str, int]
) -> tuple[list[tuple[str, int]], int]:
    """The modifiers in front of a gate, each with its argument or 1, and where the gate's name is."""
    begin, modifiers = 0, list[tuple[str, int]]()
    while begin < len(statement) and statement[begin].text in MODIFIERS:
        name, argument = statement[begin].text, 1
        begin += 1
        if begin < len(statement) and statement[begin].text == "(":
            end = bracket_end(statement, begin)
            argument = fold(statement[begin + 1 : end], constants) or 1
            begin = end + 1
        modifiers.append((name, max(1, argument)))
        begin += 1  # the @
    return modifiers, begin


def modify(gates: int, modifiers: Sequence[tuple[str, int]], operands: int) -> int:
    """How many gates a modified one stands for.

    A power is taken of the gate's matrix, of 4ⁿ entries, controls included, which then add nothing.
    Otherwise k controls make about 4k² gates of each one. Every modifier goes through the whole definition.
    """
    if not modifiers:
        return gates
    controls = [count for name, count in modifiers if name in {"ctrl", "negctrl"}]
    controlled = min(HUGE, sum(controls))
    qubits = max(0, operands - controlled)
    if any(name == "pow" for name, _ in modifiers):
        gates += 4 ** min(MOST_MATRIX_QUBITS, qubits + controlled)
    elif controlled > 1:
        gates = min(HUGE, gates * 4 * controlled**2)
    return min(HUGE, gates * max(1, len(modifiers)))
