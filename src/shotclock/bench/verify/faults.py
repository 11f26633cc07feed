"""What is wrong with a run folder, and how two figures that should be equal are told apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

WITHIN = 1e-9
"""Relative: a figure is worked out anew by the same arithmetic, so only its last digits may differ."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One broken rule: the file, and what is wrong there."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


def disagreements(
    file: str, told: object, found: object, at: str = "", source: str = "the rows give"
) -> Iterator[Fault]:
    """A fault for each place where what a file tells is not what `source` says of it."""
    if isinstance(told, Mapping) and isinstance(found, Mapping):
        for key in {**told, **found}:
            place = f"{at}.{key}" if at else str(key)
            if key not in told:
                yield Fault(file, f"{place}: is missing; {source} {_short(found[key])}")
            elif key not in found:
                yield Fault(file, f"{place}: says {_short(told[key])}; no row is behind it")
            else:
                yield from disagreements(file, told[key], found[key], place, source)
    elif isinstance(told, list | tuple) and isinstance(found, list | tuple) and len(told) == len(found):
        for number, (one, other) in enumerate(zip(told, found, strict=True)):
            yield from disagreements(file, one, other, f"{at}[{number}]", source)
    elif not _equal(told, found):
        yield Fault(file, f"{at}: says {_short(told)}; {source} {_short(found)}")


def _equal(one: object, other: object) -> bool:
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    if numbers and not isinstance(one, bool) and not isinstance(other, bool):
        diverged = math.isnan(one) and math.isnan(other)  # type: ignore[arg-type]
        return diverged or math.isclose(one, other, rel_tol=WITHIN, abs_tol=WITHIN)  # type: ignore[arg-type]
    return one == other


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
