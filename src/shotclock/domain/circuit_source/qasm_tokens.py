"""OpenQASM as tokens, one after the other, and the few expressions of which a size can depend.

Linear in the text, which an attacker may have written: nothing here recurses or searches again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

HUGE = 2**62
"""Numbers are not followed beyond it: it is over every limit."""

# Possessive throughout: a repeated group that can give back keeps a record of each repetition.
_DIGITS = "[0-9](?:_?[0-9])*+"
_SKIP = r"""(?:[ \t\r\n]++|//[^\r\n]*+|/\*[^*]*+\*++(?:[^/*][^*]*+\*++)*+/
    |@[^\W\d][\w.]*+[^\r\n]*+|\#?pragma\b[^\r\n]*+)*+"""
_TOKEN = re.compile(
    rf"""{_SKIP}(?:(?P<name>[^\W\d]\w*+|\$[0-9]++)
    |(?P<number>0[xX][0-9a-fA-F](?:_?[0-9a-fA-F])*+|0[bB][01](?:_?[01])*+|0o[0-7](?:_?[0-7])*+
        |(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?)
    |(?P<string>"[^"\r\n]*"|'[^'\r\n]*')
    |(?P<comment>/\*)|(?P<end>\Z)
    |(?P<sign>\+\+|->|\*\*|[=!<>]=|.))""",
    re.VERBOSE | re.DOTALL,
)
_BITSTRING = re.compile(r'"[01](?:_?[01])*+"')
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "negative": 3}


class Token(NamedTuple):
    """kind: name, number, string or sign; text: as it was written; at: its offset in the source."""

    kind: str
    text: str
    at: int


class UnclosedCommentError(Exception):
    """A block comment without an end; `at` is where it begins."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at


def tokens(text: str) -> Iterator[Token]:
    """The tokens as the reference parser divides them, without comments, annotations and pragmas.

    Raises UnclosedCommentError.
    """
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        if kind == "comment":
            raise UnclosedCommentError(match.start(kind))
        if kind == "end":
            return
        yield Token(kind, match[kind], match.start(kind))


def fold(expression: Sequence[Token], constants: dict[str, int]) -> int | None:
    """The value of a constant integer expression, at most HUGE either way; None where it is not one.

    Operators are those the reader folds: + - * / and parentheses; division rounds down.
    """
    values: list[int] = []
    waiting: list[str] = []
    expects_operand = True
    for token in expression:
        text = token.text
        if token.kind in {"number", "name", "string"}:
            value = _value(token, constants)
            if value is None or not expects_operand:
                return None
            values.append(value)
            expects_operand = False
        elif text == "(" and expects_operand:
            waiting.append(text)
        elif text == "-" and expects_operand:
            waiting.append("negative")
        elif text == ")" and not expects_operand:
            if not _apply_while(values, waiting, 1) or not waiting:
                return None
            waiting.pop()
        elif text in {"+", "-", "*", "/"} and not expects_operand:
            if not _apply_while(values, waiting, _PRECEDENCE[text]):
                return None
            waiting.append(text)
            expects_operand = True
        else:
            return None
    if expects_operand or not _apply_while(values, waiting, 1) or waiting:
        return None
    return values[0]


def _value(token: Token, constants: dict[str, int]) -> int | None:
    text = token.text.replace("_", "")
    if token.kind == "name":
        return constants.get(token.text)
    if token.kind == "string":
        return min(HUGE, int(text[1:-1], 2)) if _BITSTRING.fullmatch(token.text) else None
    base = {"0x": 16, "0b": 2, "0o": 8}.get(text[:2].lower(), 10)
    try:
        return min(HUGE, int(text, base))
    except ValueError:  # a fraction
        return None


def _apply_while(values: list[int], waiting: list[str], precedence: int) -> bool:
    """Applies the waiting operators that bind at least as tightly; False where one cannot be applied."""
    while waiting and waiting[-1] != "(" and _PRECEDENCE[waiting[-1]] >= precedence:
        operator, right = waiting.pop(), values.pop()
        if operator == "negative":
            values.append(-right)
            continue
        left = values.pop()
        match operator:
            case "+":
                result = left + right
            case "-":
                result = left - right
            case "*":
                result = left * right
            case _ if right:
                result = left // right
            case _:
                return False
        values.append(max(-HUGE, min(HUGE, result)))
    return True


def split(sequence: Sequence[Token], *separators: str) -> Iterator[Sequence[Token]]:
    """The parts of a sequence between separators outside brackets."""
    depth = begin = 0
    for index, token in enumerate(sequence):
        if token.kind != "sign":
            continue
        depth += (token.text in "([{") - (token.text in ")]}")
        if depth == 0 and token.text in separators:
            yield sequence[begin:index]
            begin = index + 1
    yield sequence[begin:]


def bracket_end(sequence: Sequence[Token], opening: int) -> int:
    """The index of the bracket that closes the one at `opening`; the last one where none does."""
    depth = 0
    for index in range(opening, len(sequence)):
        token = sequence[index]
        if token.kind == "sign":
            depth += (token.text in "([{") - (token.text in ")]}")
            if depth == 0:
                return index
    return len(sequence) - 1


def count_of(items: Sequence[Token], constants: dict[str, int], size: int = HUGE) -> int | None:
    """How many elements an index or a loop's set has: a range, a set, or 1 for a single index.

    items: what is between the brackets, a set with its own; size: of what is indexed, for open ranges.
    None where it is not known beforehand.
    """
    if items and items[0].text == "{":
        return sum(1 for _ in split(items[1:-1], ","))
    parts = list(split(items, ":"))
    if len(parts) == 1:
        return 1
    ends = [fold(parts[0], constants) if parts[0] else 0, fold(parts[-1], constants) if parts[-1] else size]
    step = fold(parts[1], constants) if len(parts) == 3 else 1
    first, last = ends
    if first is None or last is None or not step:
        return None
    return max(0, (last - first) // step + 1)
