"""Sets of disjoint lines, worked out once a calibration and kept in a folder. Imports no Qiskit."""

from __future__ import annotations

import json
import logging
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from shotclock.circuits.disjoint import disjoint_lines
from shotclock.circuits.lines import Line, layout
from shotclock.domain import files
from shotclock.domain.errors import MachineError, SettingsError

if TYPE_CHECKING:
    from qiskit.transpiler import Target

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LineSet:
    """Disjoint lines of n qubits of one device and calibration, the least expected error first.

    costs: −ln of the chance that nothing goes wrong on each line (`Layout.cost`), ascending. Raises
    SettingsError on lines that overlap or are not of n qubits, and on costs that do not fit them.
    """

    device: str
    calibration: str
    n: int
    lines: tuple[Line, ...]
    costs: tuple[float, ...]

    def __post_init__(self) -> None:
        if any(len(line) != self.n for line in self.lines):
            raise SettingsError(f"line set of {self.device}: not every line has {self.n} qubits")
        qubits = [qubit for line in self.lines for qubit in line]
        if len(set(qubits)) != len(qubits):
            raise SettingsError(f"line set of {self.device}: two lines share a qubit")
        if len(self.costs) != len(self.lines) or list(self.costs) != sorted(self.costs):
            raise SettingsError(f"line set of {self.device}: wants one cost a line, in ascending order")
        if not all(math.isfinite(cost) and cost >= 0.0 for cost in self.costs):
            raise SettingsError(f"line set of {self.device}: a cost is not a non-negative number")

    def to_json(self) -> str:
        """One JSON object, its keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> LineSet:
        """What `to_json` wrote. Raises SettingsError on anything else."""
        try:
            return _ADAPTER.validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise SettingsError(f"line set: {where}: {first['msg']}") from error

    def check(self, device: str, calibration: str, n: int) -> None:
        """Raises SettingsError where the set was worked out for something else."""
        for name, have, want in (
            ("device", self.device, device),
            ("calibration", self.calibration, calibration),
            ("n", self.n, n),
        ):
            if have != want:
                raise SettingsError(f"line set: {name} {have}, wants {want}")


_ADAPTER = TypeAdapter(LineSet)


def compute(target: Target, device: str, calibration: str, n: int) -> LineSet:
    """The set for this target, 2 to 5 s on a Heron; for the worker. Raises SettingsError without a line."""
    lines = disjoint_lines(target, n)
    cost = layout(target).cost
    return LineSet(device, calibration, n, lines, tuple(map(cost, lines)))


def load_or_make(folder: Path, target: Target, device: str, calibration: str, n: int) -> LineSet:
    """The set from the folder; worked out and saved where the file is missing, damaged or foreign.

    A folder that cannot be read or written is a warning.
    """
    if os.path.lexists(path_of(folder, device, n)):  # it raises nothing where the folder cannot be read
        try:
            return load(folder, device, calibration, n)
        except SettingsError as error:
            log.warning("%s; worked out again", error)
    fresh = compute(target, device, calibration, n)
    try:
        save(fresh, folder)
    except MachineError as error:
        log.warning("%s; the lines are worked out again at each start", error)
    return fresh


def save(lines: LineSet, folder: Path) -> Path:
    """Writes the set, whole or not at all. Raises MachineError where the folder cannot be written."""
    path = path_of(folder, lines.device, lines.n)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.write_text(path, lines.to_json())
    except OSError as error:
        raise MachineError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def load(folder: Path, device: str, calibration: str, n: int) -> LineSet:
    """The saved set. Raises SettingsError on a missing, damaged or foreign file, named in its text."""
    path = path_of(folder, device, n)
    try:
        lines = LineSet.from_json(path.read_text(encoding="utf-8"))
        lines.check(device, calibration, n)
    except (OSError, UnicodeDecodeError, SettingsError) as error:
        raise SettingsError(f"{path}: {error}") from error
    return lines


def path_of(folder: Path, device: str, n: int) -> Path:
    """Where a set lies; one a device and n, so that a new calibration takes the old one's place."""
    return folder / f"lines-{device}-{n}.json"
