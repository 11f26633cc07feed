"""A user circuit for a load test: its file, its parameters' values, its shots."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shotclock.bench.load.observables import Observable
from shotclock.bench.load.schema import Circuit
from shotclock.domain import encoding
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.errors import CircuitError, SettingsError

QPY_BEGINS = b"QISKIT"
_HINTS = {
    "source": "; --circuit takes OpenQASM 3 or QPY",
    "parameters": "; give each parameter one --value NAME=NUMBER",
}


@dataclass(frozen=True, slots=True)
class CircuitFile:
    """A circuit and what every call asks of it; whether it can be run, the orchestrator says.

    file: the file's name.
    spec: the circuit, its values and shots.
    observables: whose expectation values a call measures; none where it samples the circuit.
    """

    file: str
    spec: CircuitSpec
    observables: tuple[Observable, ...] = ()

    @classmethod
    def read(
        cls, path: Path, values: Iterable[str], shots: int, observables: tuple[Observable, ...] = ()
    ) -> CircuitFile:
        """OpenQASM 3 as text, or QPY; values: each NAME=NUMBER.

        Raises SettingsError naming the flag that cannot be used.
        """
        if shots < 1:
            raise SettingsError(f"--shots {shots}: must be at least 1")
        parsed = _values(values)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SettingsError(f"--circuit {path}: {error.strerror or error}") from error
        try:
            source = content if content.startswith(QPY_BEGINS) else encoding.decode(content)
            return cls(encoding.show_path(path.name), CircuitSpec(source, shots, parsed), observables)
        except UnicodeError as error:
            raise SettingsError(f"--circuit {path}: neither OpenQASM 3 text nor QPY: it {error}") from error
        except CircuitError as error:
            raise _refusal(path.name, error) from error

    def explain_refusal(self, error: CircuitError) -> SettingsError:
        """The same trouble in a line that says which file, and what to do."""
        return _refusal(self.file, error)

    def to_record(self, bases: int = 0) -> Circuit:
        """What load.json keeps of it. bases: measured circuits of a call with observables."""
        source = self.spec.content
        content = source.encode() if isinstance(source, str) else source
        return Circuit(
            file=self.file,
            sha256=hashlib.sha256(content).hexdigest(),
            values=dict(self.spec.values),
            shots=self.spec.shots,
            observables=tuple(observable.text for observable in self.observables),
            bases=bases,
        )


def _refusal(file: str, error: CircuitError) -> SettingsError:
    hint = _HINTS.get(error.field, "")
    return SettingsError(f"--circuit {file}: {error.field}: {error.message}{hint}")


def _values(assignments: Iterable[str]) -> tuple[tuple[str, float], ...]:
    values: dict[str, float] = {}
    for assignment in assignments:
        name, equals, number = assignment.partition("=")
        if not (name and equals):
            raise SettingsError(f"--value {assignment}: expected NAME=NUMBER")
        if name in values:
            raise SettingsError(f"--value {assignment}: {name} has a value already")
        try:
            values[name] = float(number)
        except ValueError as error:
            raise SettingsError(f"--value {assignment}: {number!r} is not a number") from error
        if not math.isfinite(values[name]):
            raise SettingsError(f"--value {assignment}: must be a finite number")
    return tuple(values.items())
