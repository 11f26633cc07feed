"""Faults of a run folder, and the comparison of figures that should be equal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from shotclock.domain.plugin import describe_error

WITHIN = 1e-9
"""Relative tolerance: figures are recomputed by the same arithmetic, so only last digits may differ."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """One violated rule: the file, and what is wrong in it."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


MOST = 1_000
"""Faults of one check that are listed."""


def collect(file: str, faults: Iterator[Contradiction]) -> list[Contradiction]:
    """The faults of one check; a file it cannot cope with is one more.

    Files that each are valid may still contradict each other in ways that no rule foresees.
    """
    contradictions: list[Contradiction] = []
    try:
        contradictions += itertools.islice(faults, MOST)
    except Exception as error:  # noqa: BLE001 - whatever the figures of others make ours raise
        contradictions.append(Contradiction(file, f"cannot be checked: {describe_error(error)}"))
    if len(contradictions) == MOST:
        contradictions.append(Contradiction(file, f"has {MOST:,} faults or more; the others are not listed"))
    return contradictions


def disagreements(
    file: str, written: object, expected: object, at: str = "", source: str = "the rows give"
) -> Iterator[Contradiction]:
    """A fault for each place where a file's content differs from the expected value, which `source` gives."""
    if isinstance(written, Mapping) and isinstance(expected, Mapping):
        for key in {**written, **expected}:
            place = f"{at}.{key}" if at else str(key)
            if key not in written:
                yield Contradiction(file, f"{place}: is missing; {source} {_short(expected[key])}")
            elif key not in expected:
                yield Contradiction(file, f"{place}: says {_short(written[key])}; no row is behind it")
            else:
                yield from disagreements(file, written[key], expected[key], place, source)
    elif _is_sequence(written) and _is_sequence(expected) and len(written) == len(expected):
        for number, (written_item, expected_item) in enumerate(zip(written, expected, strict=True)):
            yield from disagreements(file, written_item, expected_item, f"{at}[{number}]", source)
    elif not _is_equal(written, expected):
        yield Contradiction(file, f"{at}: says {_short(written)}; {source} {_short(expected)}")


def _is_sequence(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list | tuple)


def _is_equal(a: object, b: object) -> bool:
    numbers = isinstance(a, int | float) and isinstance(b, int | float)
    if numbers and not isinstance(a, bool) and not isinstance(b, bool):
        both_diverged = math.isnan(a) and math.isnan(b)  # type: ignore[arg-type]
        return both_diverged or math.isclose(a, b, rel_tol=WITHIN, abs_tol=WITHIN)  # type: ignore[arg-type]
    return a == b


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
