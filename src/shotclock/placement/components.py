"""Versions of drivers and firmware, compared with those that a person acknowledged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from shotclock.domain import files
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.placement.accelerators.record import Device
from shotclock.placement.fabrics.cxl import CxlMemory
from shotclock.placement.fabrics.rdma import RdmaDevice
from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent, Text, or_else

MODULES = (
    *("amdgpu", "ifoe", "ionic", "ionic_rdma", "bnxt_en", "bnxt_re", "mlx5_core", "mlx5_ib", "nvidia"),
    *("cxl_acpi", "cxl_core", "cxl_mem", "cxl_pci", "ib_core", "rdma_rxe"),
)
MOST_RECORD_BYTES = 4 * files.MIB
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Component:
    """A driver or a device's firmware. A version that is not reported makes no component.

    name: a kernel module, "kernel", "rocm", or a driver and the part of the device that its firmware runs
    instance: the device, "" for what the whole host has
    version: as it is reported
    srcversion: a checksum of the module's source, "" where there is only a version
    """

    name: str
    instance: str
    version: str
    srcversion: str = ""

    @property
    def key(self) -> str:
        """Its name in a record."""
        return f"{self.name} {self.instance}" if self.instance else self.name

    def __str__(self) -> str:
        return ", ".join(filter(None, [self.version, self.srcversion and f"srcversion {self.srcversion}"]))


@dataclass(frozen=True, slots=True)
class Change:
    """A component that is not as it was. before, now: versions, "" where it was or is not reported."""

    component: str
    before: str
    now: str

    def __str__(self) -> str:
        if not self.before:
            return f"{self.component} is new ({self.now})"
        if not self.now:
            return f"{self.component} is not reported any more (was {self.before})"
        return f"{self.component} changed from {self.before} to {self.now}"


@dataclass(frozen=True, slots=True)
class Record:
    """What a person acknowledged. at: when, UTC; versions: by the components' keys."""

    at: str
    versions: Mapping[str, str]


def read_components(
    tree: Tree, devices: Sequence[Device], rdma: Sequence[RdmaDevice], cxl: Sequence[CxlMemory]
) -> tuple[Component, ...]:
    """Of the kernel, its modules, and the firmware of these devices."""
    return (
        *_read_host(tree),
        *(_read_module(tree, name) for name in MODULES if tree.has(f"sys/module/{name}")),
        *(each for device in devices for each in _list_firmware(device)),
        *_list_firmware_of_fabrics(rdma, cxl),
    )


def find_changes(record: Record, components: Sequence[Component]) -> tuple[Change, ...]:
    """Against what was acknowledged, by component."""
    now = {component.key: str(component) for component in components if str(component)}
    names = sorted(now.keys() | record.versions.keys())
    return tuple(
        Change(name, record.versions.get(name, ""), now.get(name, ""))
        for name in names
        if record.versions.get(name, "") != now.get(name, "")
    )


def needs_acknowledgement(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Those that bring another version; what is not reported any more brings none."""
    return tuple(change for change in changes if change.now)


def read_record(path: Path) -> Record | None:
    """What was acknowledged; None if nothing was. Raises SettingsError on a file that is not a record."""
    if not path.exists():
        return None
    advice = "run `shotclock topology acknowledge` to write it again"
    try:
        document = json.loads(files.read_regular(path, MOST_RECORD_BYTES))
        versions = document["components"]
        if document["schema"] != SCHEMA or not all(isinstance(each, str) for each in versions.values()):
            raise SettingsError(f"{path}: is not a record of components of schema {SCHEMA}; {advice}")
        return Record(str(document["acknowledged_at"]), dict(versions))
    except OSError as error:
        raise MachineError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise SettingsError(f"{path}: is not a record of components; {advice}") from error


def write_record(path: Path, components: Sequence[Component], at: datetime) -> None:
    """Writes the file whole or not at all. Raises MachineError if it cannot be written."""
    document = {
        "schema": SCHEMA,
        "acknowledged_at": at.isoformat(timespec="seconds"),
        "components": {component.key: str(component) for component in components if str(component)},
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, json.dumps(document, indent=2, sort_keys=True) + "\n")
    except OSError as error:
        raise MachineError(f"{path}: cannot be written: {error.strerror or error}") from error


def _read_host(tree: Tree) -> Iterator[Component]:
    paths = {"kernel": "proc/sys/kernel/osrelease", "rocm": "opt/rocm/.info/version"}
    for name, path in paths.items():
        if version := or_else(tree.text(path), ""):
            yield Component(name, "", version)


def _read_module(tree: Tree, name: str) -> Component:
    folder = f"sys/module/{name}"
    version, source = tree.text(f"{folder}/version"), tree.text(f"{folder}/srcversion")
    return Component(name, "", or_else(version, ""), or_else(source, ""))


def _list_firmware(device: Device) -> Iterator[Component]:
    driver = or_else(device.driver, device.vendor.lower())
    for block, version in device.firmware.items():
        yield Component(f"{driver}.{block}", device.address, version)
    if vbios := or_else(device.vbios, ""):
        yield Component(f"{driver}.vbios", device.address, vbios)


def _list_firmware_of_fabrics(rdma: Sequence[RdmaDevice], cxl: Sequence[CxlMemory]) -> Iterator[Component]:
    for device in rdma:
        yield from _name_firmware(
            or_else(device.driver, "rdma"), or_else(device.address, device.name), device.firmware
        )
    for memory in cxl:
        yield from _name_firmware("cxl", memory.id, memory.firmware)


def _name_firmware(driver: str, instance: str, version: Text) -> Iterator[Component]:
    if not isinstance(version, Absent):
        yield Component(f"{driver}.firmware", instance, version)
