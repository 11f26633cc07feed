"""Device files, and the numbers a device without a file gets. Imports no Qiskit."""

from __future__ import annotations

import difflib
import functools
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from shotclock.domain import documents, encoding
from shotclock.domain.errors import SettingsError
from shotclock.emulator import model_file
from shotclock.emulator.figures import Sourced, TaggedNumber

FAKE = "fake:"


class Noise(Sourced):
    """Coefficients of the noise surrogate; see `DeviceFacts.flip_probability`.

    base: λ without gates
    per_gate_layer: λ per layer of two-qubit gates
    exposure: share of gate errors that reach the measured bits
    short_rep_delay: λ added at rep_delay 0
    """

    base: TaggedNumber
    per_gate_layer: TaggedNumber
    exposure: TaggedNumber
    short_rep_delay: TaggedNumber


class DeviceFile(Sourced):
    """A device as its data file describes it, with its snapshot in either of two places.

    schema_number: the file's format
    name: the device's name in settings
    title: for people
    fake_backend: class of the snapshot in qiskit-ibm-runtime's fake provider
    documents: JSON file of a back end's configuration and properties, next to this file
    reset: duration of a reset
    lanes: jobs the service accepts at once
    noise: coefficients of the noise surrogate
    """

    schema_number: Literal[1] = Field(alias="schema")
    name: str
    title: str
    fake_backend: str = ""
    documents: str = ""
    reset: TaggedNumber
    lanes: TaggedNumber
    noise: Noise

    @model_validator(mode="after")
    def _check_source(self) -> DeviceFile:
        if bool(self.fake_backend) == bool(self.documents):
            raise ValueError("needs either fake_backend or documents")
        if Path(self.documents).name != self.documents:
            raise ValueError("documents must be the name of a file in the same folder")
        return self


class Family(Sourced):
    """Defaults of one family of processors.

    rep_delay: default pause between two shots.
    rep_delay_low, rep_delay_high: the shortest and the longest pause that may be set.
    reset: duration of a reset.
    """

    rep_delay: TaggedNumber
    rep_delay_low: TaggedNumber
    rep_delay_high: TaggedNumber
    reset: TaggedNumber


class Defaults(Sourced):
    """What stands for a number that a snapshot does not have.

    schema_number: the file's format.
    max_shots: shots per job.
    max_circuits: circuits per sub-job.
    lanes: jobs the service accepts at once.
    nighthawk, other: by family.
    noise: coefficients of the noise surrogate.
    """

    schema_number: Literal[1] = Field(alias="schema")
    max_shots: TaggedNumber
    max_circuits: TaggedNumber
    lanes: TaggedNumber
    nighthawk: Family
    other: Family
    noise: Noise

    def of_family(self, name: str) -> Family:
        """The defaults of a family by IBM's name of it."""
        return self.nighthawk if name.lower() == "nighthawk" else self.other


@dataclass(frozen=True, slots=True)
class DeviceSource:
    """Where a device's snapshot is.

    fake_backend: class in IBM's fake provider, or ""
    documents: path of a JSON file, or ""
    changed_ns: when that file was last changed; 0 for a class
    """

    fake_backend: str = ""
    documents: str = ""
    changed_ns: int = 0


def list_devices() -> tuple[str, ...]:
    """The names of the shipped devices."""
    folder = resources.files("shotclock.emulator") / "devices"
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load(name: str) -> DeviceFile | None:
    """A shipped device by name, or one from a file; None for `fake:CLASS`, which has no file.

    Raises SettingsError, which names the nearest device or the faulty key.
    """
    if name.startswith(FAKE):
        return None
    if is_path(name):
        return model_file.read("device", Path(name), DeviceFile)
    if name not in list_devices():
        near = difflib.get_close_matches(name, list_devices(), n=1, cutoff=0.0)[0]
        raise SettingsError(
            f"no device {name!r}; did you mean {near!r}? known: {', '.join(list_devices())}, "
            "fake:CLASS of IBM's fake provider, or a path to a .toml file"
        )
    return _load_shipped(name)


def find_source(name: str) -> DeviceSource:
    """Where the device's snapshot is. Raises SettingsError."""
    file = load(name)
    if file is None:
        return DeviceSource(fake_backend=name.removeprefix(FAKE))
    if file.fake_backend:
        return DeviceSource(fake_backend=file.fake_backend)
    path = Path(name).parent / file.documents
    try:
        return DeviceSource(documents=str(path), changed_ns=path.stat().st_mtime_ns)
    except OSError as error:
        raise SettingsError(f"device {name}: documents {path}: {encoding.explain(error)}") from error


@functools.lru_cache(maxsize=1)
def load_defaults() -> Defaults:
    """The shipped defaults."""
    text = (resources.files("shotclock.emulator") / "families.toml").read_text("utf-8")
    return Defaults.model_validate(documents.parse_toml(text))


def is_path(name: str) -> bool:
    """Whether a device's name is the path of a file."""
    return name.endswith(".toml") or "/" in name


@functools.lru_cache(maxsize=8)
def _load_shipped(name: str) -> DeviceFile:
    text = (resources.files("shotclock.emulator") / "devices" / f"{name}.toml").read_text("utf-8")
    return model_file.parse("device", f"{name}.toml", text, DeviceFile)
