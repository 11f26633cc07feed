"""Values as drivers write them: numbers of two bases, and the ways to say "unknown"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import TypeVar

from shotclock.domain.untrusted import LONGEST_TEXT


@dataclass(frozen=True, slots=True)
class Absent:
    """A value that is not known. because: the reason, for a person."""

    because: str


Text = str | Absent
Integer = int | Absent
Number = float | Absent
Value = TypeVar("Value")

UNKNOWN = frozenset(
    (
        *("", "n/a", "0xffff", "0xffffffff", "4294967295"),
        *("0xffffffffffffffff", "18446744073709551615"),
    )
)
"""Each was seen where a driver or firmware did not know."""

_NUMBER = re.compile(r"0x[0-9a-f]{1,16}|[0-9]{1,20}")
_LONGEST_SHOWN = 40


def parse_text(text: str) -> Text:
    """The text as one line without surrounding white space."""
    stripped = " ".join(text.split())
    if len(stripped) > LONGEST_TEXT:
        return Absent(f"has {len(stripped):,} characters, more than a value has")
    if stripped.lower() in UNKNOWN:
        return Absent(f"reads {stripped!r}, which means unknown")
    return stripped


def parse_integer(text: str) -> Integer:
    """A number that is not negative, decimal or with 0x."""
    stripped = parse_text(text)
    if isinstance(stripped, Absent):
        return stripped
    if stripped == "-1":
        return Absent("reads -1, which means that none is assigned")
    if not _NUMBER.fullmatch(stripped.lower()):
        return Absent(f"is not a number (got {shorten(stripped)})")
    number = int(stripped, 0) if stripped[:2].lower() == "0x" else int(stripped)
    return number if number < 2**64 - 1 else Absent(f"reads {stripped}, which means unknown")


def parse_fields(text: str) -> dict[str, str]:
    """Lines of a name, white space or a colon, and a value; the first of a name counts."""
    pairs: dict[str, str] = {}
    for line in text.splitlines():
        name, *rest_of_line = re.split(r"\s*[:\s]\s*", line.strip(), maxsplit=1)
        if rest_of_line:
            pairs.setdefault(name, rest_of_line[0])
    return pairs


def pick_integer(pairs: dict[str, str], name: str) -> Integer:
    """The number of that name among `parse_fields`' pairs."""
    if name not in pairs:
        return Absent(f"has no {name}")
    value = parse_integer(pairs[name])
    return Absent(f"{name}: {value.because}") if isinstance(value, Absent) else value


def scale(value: int | float | Absent, factor: float) -> Number:
    """In another unit; absent stays so."""
    return value if isinstance(value, Absent) else value * factor


def prefer(first: Value | Absent, other: Value | Absent) -> Value | Absent:
    """The first that is known; where neither is, both reasons."""
    if not isinstance(first, Absent):
        return first
    if not isinstance(other, Absent):
        return other
    reasons = dict.fromkeys((other.because, first.because))
    return Absent("; ".join(reason for reason in reasons if reason))


def or_else(value: Value | Absent, default: Value) -> Value:
    """The value, or what to use where it is not known."""
    return default if isinstance(value, Absent) else value


def is_known(value: object) -> bool:
    """Whether there is a value."""
    return not isinstance(value, Absent)


def shorten(text: str) -> str:
    """The text quoted, for a message."""
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…")


def describe(record: object) -> object:
    """The record for JSON: what is unknown is in its `absent`, with the reason, and nowhere else."""
    if isinstance(record, tuple | list | frozenset):
        return [describe(item) for item in record]
    if isinstance(record, dict):
        return {str(key): describe(value) for key, value in record.items()}
    if not is_dataclass(record):
        return record
    named = {each.name: getattr(record, each.name) for each in fields(record)}
    known = {name: describe(value) for name, value in named.items() if is_known(value)}
    absent = dict(_reasons(named))
    return known | ({"absent": absent} if absent else {})


def _reasons(named: dict[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in named.items():
        if isinstance(value, Absent):
            yield name, value.because
