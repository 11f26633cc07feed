"""Records that another host sent: what must hold of their values before anything prints or compares them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass

LONGEST_TEXT = 4096
"""As much as an attribute of sysfs has."""
MOST_NUMBER = 2**64
"""What no counter of a driver reaches."""


def find_fault(record: object, place: str = "") -> str:
    """The first value that cannot be right, with where it is; "" if all can be.

    Text must be printable, so that a terminal does what we say and not what another host says.
    """
    match record:
        case bool() | None:
            return ""
        case str():
            is_right = record.isprintable() and len(record) <= LONGEST_TEXT
            return "" if is_right else f"{place}: is not one printable line of {LONGEST_TEXT} characters"
        case int() | float():
            is_right = 0 <= record < MOST_NUMBER  # which no NaN is
            return "" if is_right else f"{place}: is not a figure from 0 to 2^64"
    return _first(find_fault(part, inner) for inner, part in _list_parts(record, place))


def _list_parts(record: object, place: str) -> Iterator[tuple[str, object]]:
    match record:
        case Mapping():
            yield from ((place, part) for pair in record.items() for part in pair)
        case tuple() | list() | frozenset():
            yield from ((f"{place}[{number}]", part) for number, part in enumerate(record))
        case _ if is_dataclass(record):
            yield from ((f"{place}.{each.name}", getattr(record, each.name)) for each in fields(record))
        case _:
            raise TypeError(f"{place}: {type(record).__name__} has no check")


def _first(faults: Iterable[str]) -> str:
    return next((fault.removeprefix(".") for fault in faults if fault), "")
