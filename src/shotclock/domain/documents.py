"""JSON and TOML from elsewhere: read within limits, so that whoever takes their values meets no surprise.

Both parsers recurse, and raise what a malformed document should not: RecursionError on deep nesting,
ValueError on a number of a million digits.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from shotclock.domain.errors import SettingsError, ShotclockError
from shotclock.domain.plugin import describe_error

MOST_BYTES = 16 << 20
"""Of a document that Shotclock writes; a full run's summary has less than a tenth of it."""
MOST_SETTINGS_BYTES = 1 << 18
MOST_NESTED = 64
MOST_DOTS = 64
"""In a line of TOML: the time for a key grows with the square of its parts."""
LARGEST = 1e150
"""Of a number: its square is still one."""
LARGEST_WHOLE = 2**63 - 1
LONGEST = 65_536
LONGEST_REASON = 300
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class DocumentError(ValueError):
    """A document that is malformed or beyond a limit; its text is one line that begins with the key."""


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML document. Raises DocumentError.

    Numbers may be large: whoever reads settings knows their ranges, and says on which line one is not met.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        if line.count(".") > MOST_DOTS:
            raise DocumentError(f"line {number}: has more than {MOST_DOTS} dots; write it as several lines")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DocumentError(f"malformed TOML: {error}") from error
    except RecursionError as error:
        raise DocumentError(_too_deep()) from error
    except ValueError as error:  # of `int`
        raise DocumentError("holds a number of too many digits; write one that fits 64 bits") from error
    check(values, numbers=False)
    return values


def parse_json(text: str | bytes) -> Any:
    """The values of a JSON document. Raises DocumentError, also on NaN and Infinity: JSON has neither."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except DocumentError:
        raise
    except json.JSONDecodeError as error:
        raise DocumentError(f"is not valid JSON: {error}") from error
    except RecursionError as error:
        raise DocumentError(_too_deep()) from error
    except ValueError as error:  # of `int`, and of bytes that are not UTF-8
        what = "is not UTF-8 text" if isinstance(error, UnicodeError) else "holds a number of too many digits"
        raise DocumentError(what) from error
    check(value)
    return value


@contextlib.contextmanager
def refuse_contradictions(where: Path) -> Iterator[None]:
    """SettingsError where files that each are valid contradict each other, and nothing can be computed.

    A summary from elsewhere may name an arm that it does not have, or a count that no row is behind: no
    schema says so, and whoever divides by it finds out.
    """
    try:
        yield
    except (ShotclockError, OSError):
        raise
    except Exception as error:
        raise SettingsError(
            f"{where}: its files contradict each other ({describe_error(error)}); `shotclock verify` says how"
        ) from error


def describe_reason(error: Exception) -> str:
    """A library's message, which may quote the file it is about, as one printable line."""
    return shorten_reason(str(error)) or type(error).__name__


def shorten_reason(text: str) -> str:
    """The beginning of a text of a library, as one printable line."""
    return _UNPRINTABLE.sub("\ufffd", " ".join(text.split()))[:LONGEST_REASON]


def check(document: object, *, numbers: bool = True) -> None:
    """DocumentError naming the first key whose value is beyond a limit of this module."""
    pending: list[tuple[str, object, int]] = [("", document, 0)]
    while pending:
        where, value, depth = pending.pop()
        if depth > MOST_NESTED:
            raise DocumentError(_too_deep())
        match value:
            case dict():
                for key, inner in value.items():
                    _check_text(where, str(key))
                    pending.append((f"{where}.{key}" if where else str(key), inner, depth + 1))
            case list():
                pending.extend((f"{where}[{place}]", inner, depth + 1) for place, inner in enumerate(value))
            case str():
                _check_text(where, value)
            case bool():
                pass
            case int() | float() if numbers:
                _check_number(where, value)


def _check_text(where: str, text: str) -> None:
    if len(text) > LONGEST:
        raise DocumentError(f"{_name(where)}: has {len(text):,} characters; the most is {LONGEST:,}")
    if character := _UNPRINTABLE.search(text):
        raise DocumentError(f"{_name(where)}: has the control character {character[0]!a}; remove it")


def _check_number(where: str, value: float) -> None:
    largest = LARGEST_WHOLE if isinstance(value, int) else LARGEST
    if not math.isnan(value) and abs(value) > largest and value not in (math.inf, -math.inf):
        shown = f"{value:g}" if isinstance(value, float) else f"an integer of {value.bit_length()} bits"
        raise DocumentError(f"{_name(where)}: is too large (got {shown}); the most is {largest:g}")


def _name(where: str) -> str:
    return (where if len(where) <= 100 else f"{where[:100]}…") or "document"


def _refuse_constant(name: str) -> NoReturn:
    raise DocumentError(f"has {name}, which is not valid JSON")


def _too_deep() -> str:
    return f"is nested too deeply; the most is {MOST_NESTED} levels"
