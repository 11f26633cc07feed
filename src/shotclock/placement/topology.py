"""One host as it sees itself: accelerators, fabrics, components, and what needs attention."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shotclock.domain.plural import count
from shotclock.placement.accelerators import amdsmi, nvidia
from shotclock.placement.accelerators.amdsmi import Library
from shotclock.placement.accelerators.discover import read_accelerators
from shotclock.placement.accelerators.pci import list_functions
from shotclock.placement.accelerators.record import ECC_OFF, Accelerator, Device
from shotclock.placement.components import Component, read_components
from shotclock.placement.fabrics import cxl, pcie, rdma, ualink, xgmi
from shotclock.placement.fabrics.cxl import CxlMemory
from shotclock.placement.fabrics.pcie import PcieLink
from shotclock.placement.fabrics.rdma import RdmaDevice
from shotclock.placement.fabrics.ualink import UALink
from shotclock.placement.fabrics.xgmi import Hive
from shotclock.placement.rack import NO_RACK, Rack, find_rack
from shotclock.placement.tree import MOST_READS, Tree
from shotclock.placement.values import Absent, Text, is_known, or_else

NO_ACCELERATOR = "this host computes on its CPUs alone: no AMD or NVIDIA device is on its PCI bus"
FabricDevice = Hive | UALink | CxlMemory | RdmaDevice | PcieLink


@dataclass(frozen=True, slots=True)
class Fabric:
    """One fabric of a host.

    kind: xgmi, ualink, cxl, rdma or pcie
    devices: what is on it
    available: whether any device can be reached over it
    because: the reason
    """

    kind: str
    devices: tuple[FabricDevice, ...]
    available: bool
    because: str


@dataclass(frozen=True, slots=True)
class Host:
    """One host as it sees itself.

    name: its host name
    kernel: its release
    accelerators: devices and partitions, by PCI address
    accelerators_because: where they come from, or why the host has none
    fabrics: one of each kind
    components: drivers and firmware
    rack: where it is
    """

    name: str
    kernel: Text
    accelerators: tuple[Accelerator, ...]
    accelerators_because: str
    fabrics: tuple[Fabric, ...]
    components: tuple[Component, ...]
    rack: Rack | Absent = NO_RACK

    @property
    def devices(self) -> tuple[Device, ...]:
        """Each PCI function once, however many partitions it has."""
        return tuple({each.device.address: each.device for each in self.accelerators}.values())

    def fabric(self, kind: str) -> Fabric:
        """The fabric of that kind."""
        return next(fabric for fabric in self.fabrics if fabric.kind == kind)


@dataclass(frozen=True, slots=True)
class HostView:
    """A host and what needs attention there."""

    host: Host
    problems: tuple[str, ...]


def read_host(
    tree: Tree,
    libraries: dict[str, Library] | Absent | None = None,
    totals: dict[str, int] | Absent = nvidia.BY_TORCH,
    rack: str = "",
) -> HostView:
    """The host of the tree.

    libraries: what amdsmi answered; by default it is asked where the tree is this machine, with AMD devices.
    totals: what torch answered about NVIDIA devices, in a child process.
    rack: the site's label of the rack.
    """
    tree.begin_pass()
    functions = list_functions(tree)
    accelerators = nvidia.join(read_accelerators(tree), totals)
    has_amd = any(function.vendor == "AMD" for function in functions)
    if libraries is None:
        asks = has_amd and tree.is_this_machine
        libraries = amdsmi.ask_library() if asks else Absent("amdsmi is asked on AMD hosts themselves")
    if not isinstance(libraries, Absent):
        accelerators = amdsmi.join(accelerators, libraries)
    ports = ualink.read_ports(tree, functions)
    links = tuple(pcie.read_link(tree, function.address, function.path) for function in functions)
    networks, memories = rdma.read_devices(tree), cxl.read_memories(tree)
    devices = {each.device.address: each.device for each in accelerators}
    host = Host(
        or_else(tree.text("proc/sys/kernel/hostname"), "unknown"),
        tree.text("proc/sys/kernel/osrelease"),
        accelerators,
        _explain_accelerators(accelerators, libraries, has_amd),
        (
            _summarise_xgmi(xgmi.group(accelerators)),
            _summarise_ualink(ports),
            _summarise_cxl(memories),
            _summarise_rdma(networks),
            Fabric("pcie", links, bool(links), _count_or_none(links, "accelerator", "on the PCI bus")),
        ),
        read_components(tree, tuple(devices.values()), networks, memories),
        find_rack(ports, rack, os.environ if tree.is_this_machine else {}),
    )
    problems = tuple(_find_problems(host, libraries))
    if tree.is_exhausted:
        problems = (f"only {MOST_READS:,} files of this tree were read; the others are absent", *problems)
    return HostView(host, problems)


def ask_torch(tree: Tree) -> dict[str, int] | Absent:
    """Where the tree is this machine with NVIDIA devices; takes seconds."""
    if not tree.is_this_machine or all(each.vendor != "NVIDIA" for each in list_functions(tree)):
        return nvidia.BY_TORCH
    return nvidia.ask_torch()


def _explain_accelerators(
    accelerators: Sequence[Accelerator], libraries: dict[str, Library] | Absent, has_amd: bool
) -> str:
    if not accelerators:
        return NO_ACCELERATOR
    if isinstance(libraries, Absent):
        return f"from sysfs; {libraries.because}" if has_amd else "from sysfs"
    return "from amdsmi and sysfs"


def _count_or_none(devices: Sequence[object], what: str, where: str) -> str:
    return f"{count(len(devices), what)} {where}" if devices else f"no {what} {where}"


def _summarise_xgmi(hives: tuple[Hive, ...]) -> Fabric:
    links = sum(hive.links for hive in hives)
    if not hives:
        return Fabric("xgmi", (), False, "KFD lists no XGMI link")
    words = f"{count(sum(len(hive.members) for hive in hives), 'accelerator')} in {count(len(hives), 'hive')}"
    return Fabric("xgmi", hives, links > 0, f"{words}, {links} link ends enabled")


def _summarise_ualink(ports: tuple[UALink, ...]) -> Fabric:
    if not ports:
        return Fabric("ualink", (), False, "no accelerator has a UALink port")
    active = [port for port in ports if port.is_active is True]
    domains = {port.domain for port in active if is_known(port.domain)}
    words = f"{len(active)} of {count(len(ports), 'port')} active, in {count(len(domains), 'virtual pod')}"
    return Fabric("ualink", ports, bool(domains), words)


def _summarise_cxl(memories: tuple[CxlMemory, ...]) -> Fabric:
    if not memories:
        return Fabric("cxl", (), False, "this host has no CXL memory device")
    ranges = {each.name: each for memory in memories for each in memory.ranges}
    online = [each for each in ranges.values() if each.is_online is True]
    extent = f"{len(online)} of {count(len(ranges), 'range')} online" if ranges else "no range of memory"
    words = f"{count(len(memories), 'memory device')}, {extent}"
    return Fabric("cxl", memories, bool(online), words)


def _summarise_rdma(devices: tuple[RdmaDevice, ...]) -> Fabric:
    if not devices:
        return Fabric("rdma", (), False, "this host has no RDMA device")
    ports = [port for device in devices for port in device.ports]
    up = sum(port.is_up is True for port in ports)
    words = f"{up} of {count(len(ports), 'port')} up on {count(len(devices), 'device')}"
    return Fabric("rdma", devices, up > 0, words)


def _find_problems(host: Host, libraries: dict[str, Library] | Absent) -> Iterator[str]:
    for device in host.devices:
        if device.has_ecc is False:
            yield f"{device.address}: {ECC_OFF}"
        for error in or_else(device.ecc, ()):
            if error.severity == "uncorrectable" and error.count:
                yield f"{device.address}: {count(error.count, 'uncorrectable error')} in {error.block}"
    for each in host.fabrics:
        for device_of_fabric in each.devices:
            yield from _find_device_problems(device_of_fabric, libraries)


def _find_device_problems(device: FabricDevice, libraries: dict[str, Library] | Absent) -> Iterator[str]:
    match device:
        case UALink():
            if not isinstance(libraries, Absent) and device.address in libraries:
                yield from ualink.find_disagreements(device, libraries[device.address].fabric)
            if device.is_active is False:
                yield f"UALink of {device.address} is {device.accel_state}"
        case PcieLink() if device.is_narrowed:
            yield f"{device.address}: its PCIe link uses {device.width} of {device.most_lanes} lanes"
        case Hive() if device.links_down:
            yield f"XGMI hive {device.id}: {count(device.links_down, 'link end')} not enabled"
        case RdmaDevice():
            for port in device.ports:
                if port.is_up is False:
                    yield f"RDMA {device.name} port {port.number} is {port.state}"
        case CxlMemory():
            for each in device.ranges:
                if each.is_online is False:
                    yield f"CXL {device.id}: the memory of {each.name} (node {each.node}) is offline"
