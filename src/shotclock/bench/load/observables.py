"""Observables for a load test: sums of Pauli strings, as flags and as lines of a file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shotclock.domain import encoding
from shotclock.domain.errors import SettingsError

_NUMBER = r"[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?"
_TERM = re.compile(rf"\s*([+-])?\s*(?:({_NUMBER})\s*\*\s*)?([IXYZ]+)\s*")
MOST_OBSERVABLES = 1024
MOST_BYTES = 1024 * 1024
SHOWN = 60
"""Characters of a text that is refused."""


@dataclass(frozen=True, slots=True)
class Observable:
    """A sum of Pauli strings.

    text: as it was given.
    terms: the strings, the last letter of which acts on qubit 0, with their coefficients.
    """

    text: str
    terms: tuple[tuple[str, float], ...]

    @property
    def qubits(self) -> int:
        """How many it acts on, identities included."""
        return len(self.terms[0][0])

    @classmethod
    def read(cls, text: str, where: str) -> Observable:
        """From text such as "ZZ" or "0.5*ZZ - XI"; raises SettingsError beginning with `where`."""
        terms: list[tuple[str, float]] = []
        at = 0
        while at < len(text) or not terms:
            match = _TERM.match(text, at)
            if match is None or (terms and match[1] is None):
                raise SettingsError(
                    f"{where}: expected a sum of Pauli strings such as 0.5*ZZ - XI (got {text[:SHOWN]!r})"
                )
            sign = -1.0 if match[1] == "-" else 1.0
            terms.append((match[3], sign * float(match[2] or 1.0)))
            at = match.end()
        if len({len(label) for label, _ in terms}) > 1:
            raise SettingsError(f"{where}: the strings of a sum must have equal lengths")
        if not all(math.isfinite(number) for _, number in terms):
            raise SettingsError(f"{where}: a coefficient must be a finite number")
        if not any(set(label) - {"I"} for label, _ in terms):
            raise SettingsError(f"{where}: is the identity, which no circuit measures")
        return cls(" ".join(text.split()), tuple(terms))


def read_observables(flags: Iterable[str], file: Path | None) -> tuple[Observable, ...]:
    """Of `--observable` and then of the lines of `--observables`; # begins a comment.

    Raises SettingsError naming the flag, or file and line.
    """
    observables = [Observable.read(text, "--observable") for text in flags]
    if file is not None:
        read = _read_file(file)
        if not read:
            raise SettingsError(f"--observables {file}: has none; write one a line, such as 0.5*ZZ - XI")
        observables += read
    if len(observables) > MOST_OBSERVABLES:
        raise SettingsError(f"--observables: at most {MOST_OBSERVABLES:,} (got {len(observables):,})")
    return tuple(observables)


def _read_file(file: Path) -> list[Observable]:
    where = f"--observables {encoding.show_path(str(file))}"
    try:
        lines = encoding.read_text(file, MOST_BYTES).splitlines()
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"{where}: {encoding.explain(error)}") from error
    texts = [(number, line.partition("#")[0].strip()) for number, line in enumerate(lines, 1)]
    return [Observable.read(text, f"{where}:{number}") for number, text in texts if text]
