"""What an OpenQASM program would grow to, counted without building it and compared with the limits.

One pass over the tokens, a statement at a time; definitions keep their counts, so that a call costs one
multiplication. Only what is over a limit is refused here: errors of syntax are the reader's to tell, and
what depends on a result (`while`) is bounded by the worker that runs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shotclock.domain.circuit_limits import CircuitLimits
from shotclock.domain.circuit_source.qasm_parts import QasmPart, define
from shotclock.domain.circuit_source.qasm_statements import Counts
from shotclock.domain.circuit_source.qasm_tokens import HUGE, Token, UnclosedCommentError, bracket_end, tokens
from shotclock.domain.circuit_source.refusal import Guard

CALIBRATIONS = frozenset(("cal", "defcal", "defcalgrammar"))
HEADERS = frozenset(("for", "if", "while", "switch", "else"))
STRUCTURE = frozenset("()[]{};")
CLOSES = {")": "(", "]": "[", "}": "{"}
IN_STATEMENT = "words and signs in a statement"
STEP = 250
"""Tokens between two pauses."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a program declares, and its gates (see `CircuitLimits.gates`), definitions expanded."""

    qubits: int
    bits: int
    gates: int


@dataclass(slots=True)
class _Block:
    """Braces around statements: what they are part of, and how often they are run.

    part: where their gates are counted: the program, or a definition.
    times: how often they are run, loops around them included.
    defines: whether they are the body of a `gate` or `def`.
    alternatives: length of the present chain of `else if`, which is as deep as it is long.
    """

    part: QasmPart
    times: int = 1
    defines: bool = False
    alternatives: int = 0


class QasmCheck:
    """The pass over one text; run `steps` to its end, then `size` holds."""

    def __init__(self, text: str, limits: CircuitLimits) -> None:
        self._text = text
        self._guard = Guard(limits, text)
        self._counts = Counts(self._guard)
        self._main = QasmPart()
        self._defined = QasmPart()
        self._blocks = [_Block(self._main)]
        self._brackets: list[str] = []
        self._statement: list[Token] = []
        self._statements = 0

    @property
    def size(self) -> Size:
        """What has been counted so far."""
        counts = self._counts
        return Size(max(counts.declared, counts.physical), counts.bits, self._main.gates)

    def steps(self) -> Iterator[None]:
        """Reads on, pausing after each STEP tokens. Raises CircuitError on what is over a limit."""
        check, limits = self._guard.check, self._guard.limits
        most, most_in_statement = limits.tokens, limits.statement_tokens
        try:
            for number, token in enumerate(tokens(self._text), start=1):
                if number % STEP == 0:
                    yield
                if number > most:
                    check("tokens", number, "words and signs", token.at)
                if len(self._statement) >= most_in_statement:
                    check("statement_tokens", most_in_statement + 1, IN_STATEMENT, token.at)
                if token.kind == "sign":
                    self._take_sign(token)
                else:
                    self._take_word(token)
        except UnclosedCommentError as error:
            raise self._guard.syntax("the comment is not closed", error.at) from None
        if self._brackets:
            raise self._guard.syntax(f"{self._brackets[-1]} is not closed", len(self._text))
        self._end_statement()

    def _take_word(self, token: Token) -> None:
        kind, text, at = token
        if kind != "string" and len(text) > self._guard.limits.name_length:
            self._guard.check("name_length", len(text), f"characters in a {kind}", at)
        if text[0] == "$":
            self._counts.use_physical(token)
        elif text in CALIBRATIONS:
            raise self._guard.syntax(f"{text} is not supported; use gates", at)
        self._statement.append(token)

    def _take_sign(self, token: Token) -> None:
        """A bracket, the end of a statement, or a sign within one."""
        text, brackets = token.text, self._brackets
        if text not in STRUCTURE:
            pass
        elif text in {"(", "["} or (text == "{" and self._is_set()):
            brackets.append(text)
            depth = len(brackets) + len(self._blocks) - 1
            self._guard.check("nesting", depth, "brackets within each other", token.at)
        elif text in CLOSES and (brackets or text != "}"):
            if not brackets or brackets.pop() != CLOSES[text]:
                raise self._guard.syntax(f"{text} closes nothing", token.at)
        elif text == ";" and not brackets:
            return self._end_statement()
        elif text == "{":
            return self._begin_block(token)
        elif text == "}":
            return self._end_block(token)
        self._statement.append(token)
        return None

    def _is_set(self) -> bool:
        """Whether a brace begins `{1, 2}` rather than a block."""
        return bool(self._brackets or (self._statement and self._statement[-1].text in {"in", "="}))

    def _begin_block(self, brace: Token) -> None:
        statement, self._statement = self._statement, []
        self._guard.check("nesting", len(self._blocks), "blocks within each other", brace.at)
        self._count_statement(brace.at)
        if statement and statement[0].text in {"gate", "def"}:
            self._blocks.append(_Block(define(statement), defines=True))
            return
        times, _ = self._strip_headers(statement)
        outer = self._blocks[-1]
        self._blocks.append(_Block(outer.part, min(HUGE, outer.times * times)))

    def _end_block(self, brace: Token) -> None:
        self._end_statement()
        if len(self._blocks) == 1:
            raise self._guard.syntax("} closes nothing", brace.at)
        block = self._blocks.pop()
        if not block.defines:
            return
        part, defined, check = block.part, self._defined, self._guard.check
        defined.gates += part.gates
        defined.terms += part.terms + part.per_parameter
        check("gates", defined.gates, "gates in definitions, expanded", brace.at)
        check("terms", defined.terms, "terms in the parameters of definitions, expanded", brace.at)
        check("nesting", part.depth, "definitions within each other", brace.at)
        self._counts.parts[part.name] = part

    def _end_statement(self) -> None:
        statement, self._statement = self._statement, []
        if not statement:
            return
        self._count_statement(statement[0].at)
        block = self._blocks[-1]
        if statement[0].text not in HEADERS:
            block.alternatives = 0
            self._counts.read(statement, block.times, block.part)
            return
        times, begin = self._strip_headers(statement)
        if begin < len(statement):
            self._counts.read(statement[begin:], min(HUGE, times * block.times), block.part)

    def _count_statement(self, at: int) -> None:
        self._statements += 1
        self._guard.check("statements", self._statements, "statements", at)

    def _strip_headers(self, statement: list[Token]) -> tuple[int, int]:
        """How often what follows the loops and conditions in front is run, and where it begins."""
        times, begin, block = 1, 0, self._blocks[-1]
        block.alternatives = block.alternatives + 1 if statement and statement[0].text == "else" else 0
        depth = len(self._blocks) - 1 + block.alternatives
        while begin < len(statement):
            first = statement[begin]
            if first.text == "for":
                count, begin = self._counts.loop(statement, begin)
                times = min(HUGE, times * count)
            elif first.text in {"if", "while", "switch"}:
                begin = bracket_end(statement, begin + 1) + 1
            elif first.text == "else":
                begin += 1
            else:
                break
            depth += 1
            self._guard.check("nesting", depth - 1, "loops and conditions within each other", first.at)
        return times, begin
