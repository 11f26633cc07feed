"""Sets of disjoint lines, computed once per calibration and stored in a folder. Imports no Qiskit."""

from __future__ import annotations

import json
import logging
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from shotclock.circuits.disjoint import disjoint_lines
from shotclock.circuits.lines import Line, layout
from shotclock.domain import files
from shotclock.domain.errors import MachineError, SettingsError

if TYPE_CHECKING:
    from qiskit.transpiler import Target

MOST_BYTES = 2**20

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LineSet:
    """Disjoint lines of n qubits. Raises SettingsError on lines that overlap or have another length, and on
    costs that do not match the lines.

    device: the device's name
    calibration: the hash of the device's calibration
    n: qubits in each line
    lines: the lines, least expected error first
    costs: −ln of the probability that no error occurs on each line (`Layout.cost`), ascending
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
            raise SettingsError(f"line set of {self.device}: expected one cost per line, in ascending order")
        if not all(math.isfinite(cost) and cost >= 0.0 for cost in self.costs):
            raise SettingsError(f"line set of {self.device}: a cost is not a non-negative number")

    def to_json(self) -> str:
        """One JSON object with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> LineSet:
        """Reads what `to_json` wrote; raises SettingsError on anything else."""
        try:
            return _ADAPTER.validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise SettingsError(f"line set: {where}: {first['msg']}") from error

    def check(self, device: str, calibration: str, n: int) -> None:
        """Raises SettingsError if the set was computed for another device, calibration or n."""
        for name, actual, expected in (
            ("device", self.device, device),
            ("calibration", self.calibration, calibration),
            ("n", self.n, n),
        ):
            if actual != expected:
                raise SettingsError(f"line set: {name} {actual}, expected {expected}")


_ADAPTER = TypeAdapter(LineSet)


def check_on(target: Target, lines: LineSet) -> None:
    """Raises SettingsError where a line is not one of the target, or its cost is another than it says."""
    working = layout(target)
    for line, cost in zip(lines.lines, lines.costs, strict=True):
        try:
            measured_cost = working.cost(line)
        except KeyError as error:
            raise SettingsError(
                f"line set of {lines.device}: {line} is not a line of working qubits"
            ) from error
        if not math.isclose(measured_cost, cost, rel_tol=1e-9):
            raise SettingsError(
                f"line set of {lines.device}: {line} costs {measured_cost:.6g} (got {cost:.6g})"
            )


def compute(target: Target, device: str, calibration: str, n: int) -> LineSet:
    """Computes the set (2 to 5 s on a Heron, in the worker); raises SettingsError if no line exists."""
    lines = disjoint_lines(target, n)
    cost = layout(target).cost
    return LineSet(device, calibration, n, lines, tuple(map(cost, lines)))


def load_or_make(folder: Path, target: Target, device: str, calibration: str, n: int) -> LineSet:
    """The set from the folder; computed and saved if the file is missing, damaged or for another device.

    Logs a warning if the folder cannot be read or written.
    """
    if os.path.lexists(path_of(folder, device, n)):  # does not raise if the folder cannot be read
        try:
            stored = load(folder, device, calibration, n)
            check_on(target, stored)
            return stored
        except SettingsError as error:
            log.warning("%s; the lines are computed again", error)
    fresh = compute(target, device, calibration, n)
    try:
        save(fresh, folder)
    except MachineError as error:
        log.warning("%s; the lines are computed again at each start", error)
    return fresh


def save(lines: LineSet, folder: Path) -> Path:
    """Writes the set atomically; raises MachineError if the folder cannot be written."""
    path = path_of(folder, lines.device, lines.n)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.write_text(path, lines.to_json())
    except OSError as error:
        raise MachineError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def load(folder: Path, device: str, calibration: str, n: int) -> LineSet:
    """The saved set; raises SettingsError, which names the file, if it is missing, damaged or foreign."""
    path = path_of(folder, device, n)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SettingsError(f"is larger than {MOST_BYTES} bytes")
        lines = LineSet.from_json(path.read_text(encoding="utf-8"))
        lines.check(device, calibration, n)
    except (OSError, UnicodeDecodeError, SettingsError) as error:
        raise SettingsError(f"{path}: {error}") from error
    return lines


def path_of(folder: Path, device: str, n: int) -> Path:
    """The set's path: one per device and n, so that a new calibration replaces the old one."""
    return folder / f"lines-{quote(device, safe='')}-{n}.json"  # a device may be named by its file's path
