"""CXL memory devices, where their memory lands, and its declared latency.

`memN` numbers change between boots: a device is its serial number, else its PCI address. `memN/numa_node` is
not where its memory is: the DAX device of its region says that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from shotclock.placement.accelerators.pci import ADDRESS
from shotclock.placement.fabrics.pcie import read_errors
from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent, Integer, Text, is_known, or_else, parse_integer

DEVICES = "sys/bus/cxl/devices"
DAX = "sys/bus/dax/devices"
NODES = "sys/devices/system/node"
MEGABYTE = 10**6


@dataclass(frozen=True, slots=True)
class CxlRange:
    """Memory that software sees: a DAX device on a region.

    name: daxX.Y
    size_bytes: its size
    node: the NUMA node where its memory is
    is_online: whether the node has usable memory
    read_latency_ns: declared by firmware
    read_bytes_per_s: declared by firmware
    """

    name: str
    size_bytes: Integer
    node: Integer
    is_online: bool | Absent
    read_latency_ns: Integer
    read_bytes_per_s: Integer


@dataclass(frozen=True, slots=True)
class CxlMemory:
    """One memory device.

    id: "serial:" and the serial number, else "pci:" and the address
    name: memN, until the next boot
    address: its PCI address
    driver: bound to the device; an unbound one keeps its attributes
    volatile_bytes: capacity of its RAM
    persistent_bytes: capacity of its persistent memory
    firmware: its version
    numa_node: the processor's node that the device is attached to
    qos_class: of its RAM; Linux 6.1 does not have it
    ranges: where its memory is
    correctable: PCIe errors that the link repaired
    nonfatal: PCIe errors that lost a transfer
    fatal: PCIe errors that broke the link
    throughput_bytes: read and written
    """

    id: str
    name: str
    address: Text
    driver: Text
    volatile_bytes: Integer
    persistent_bytes: Integer
    firmware: Text
    numa_node: Integer
    qos_class: Integer
    ranges: tuple[CxlRange, ...]
    correctable: Integer
    nonfatal: Integer
    fatal: Integer
    throughput_bytes: Integer


def read_memories(tree: Tree) -> tuple[CxlMemory, ...]:
    """By name; the folder also holds ports, decoders, regions and persistent-memory devices."""
    names = tree.names(DEVICES, r"mem[0-9]{1,6}")
    ranges = _read_ranges(tree) if names else {}
    return tuple(_read(tree, name, ranges.get(name, ())) for name in names)


def _read(tree: Tree, name: str, ranges: tuple[CxlRange, ...]) -> CxlMemory:
    folder = f"{DEVICES}/{name}"
    serial, address = tree.integer(f"{folder}/serial"), _find_address(tree, folder)
    if isinstance(serial, Absent) or serial == 0:
        identity = f"pci:{address}" if is_known(address) else f"name:{name}"
    else:
        identity = f"serial:{serial:#x}"
    driver = tree.resolve(f"{folder}/driver")
    pci = f"sys/bus/pci/devices/{address}" if is_known(address) else f"{folder}/.."
    return CxlMemory(
        id=identity,
        name=name,
        address=address,
        driver=driver if isinstance(driver, Absent) else driver.rpartition("/")[2],
        volatile_bytes=tree.integer(f"{folder}/ram/size"),
        persistent_bytes=tree.integer(f"{folder}/pmem/size"),
        firmware=tree.text(f"{folder}/firmware_version"),
        numa_node=tree.integer(f"{folder}/numa_node"),
        qos_class=tree.integer(f"{folder}/ram/qos_class"),
        ranges=ranges,
        correctable=read_errors(tree, pci, "correctable"),
        nonfatal=read_errors(tree, pci, "nonfatal"),
        fatal=read_errors(tree, pci, "fatal"),
        throughput_bytes=_explain_throughput(tree, name),
    )


def _find_address(tree: Tree, folder: str) -> Text:
    """The device is a child of its PCI function."""
    resolved = tree.resolve(folder)
    if isinstance(resolved, Absent):
        return resolved
    parent = resolved.split("/")[-2]
    return parent if re.fullmatch(ADDRESS, parent) else Absent(f"/{folder}: is on no PCI device")


def _explain_throughput(tree: Tree, name: str) -> Absent:
    """Counting needs an open perf event for the whole time, which no reader of files has."""
    if tree.names("sys/bus/event_source/devices", rf"cxl_pmu_{name}\.\d+"):
        return Absent("the device counts it, to those who open its perf events (cxl_pmu)")
    return Absent("the device has no performance counters")


def _read_ranges(tree: Tree) -> dict[str, tuple[CxlRange, ...]]:
    """The DAX devices of each memory device, by way of the region that both are on."""
    ranges: dict[str, tuple[CxlRange, ...]] = {}
    for name in tree.names(DAX, r"dax\d+\.\d+"):
        resolved = or_else(tree.resolve(f"{DAX}/{name}"), "")
        regions = re.findall(r"/(region\d+)/", resolved)
        if regions:
            dax_range = _read_range(tree, name)
            for memory in _find_memories(tree, regions[-1]):
                ranges[memory] = (*ranges.get(memory, ()), dax_range)
    return ranges


def _find_memories(tree: Tree, region: str) -> Iterator[str]:
    """A region's targets are decoders of endpoints, and an endpoint's upstream port is a memory device."""
    for target in tree.names(f"{DEVICES}/{region}", r"target\d{1,3}"):
        decoder = or_else(tree.text(f"{DEVICES}/{region}/{target}"), "")
        if match := re.fullmatch(r"decoder(\d{1,6})\.\d{1,6}", decoder):
            uport = or_else(tree.resolve(f"{DEVICES}/endpoint{match[1]}/uport"), "").rpartition("/")[2]
            if re.fullmatch(r"mem[0-9]{1,6}", uport):
                yield uport


def _read_range(tree: Tree, name: str) -> CxlRange:
    node = tree.integer(f"{DAX}/{name}/target_node")
    size = tree.integer(f"{DAX}/{name}/size")
    if isinstance(node, Absent):
        return CxlRange(name, size, node, node, node, node)
    initiators = f"{NODES}/node{node}/access0/initiators"
    bandwidth = tree.integer(f"{initiators}/read_bandwidth")
    return CxlRange(
        name,
        size,
        node,
        _has_memory(tree, node),
        tree.integer(f"{initiators}/read_latency"),
        bandwidth if isinstance(bandwidth, Absent) else bandwidth * MEGABYTE,
    )


def _has_memory(tree: Tree, node: int) -> bool | Absent:
    """A node whose memory is offline is in `online` and not in `has_memory`."""
    text = tree.text(f"{NODES}/has_memory")
    return text if isinstance(text, Absent) else node in parse_ranges(text)


def parse_ranges(text: str) -> frozenset[int]:
    """A kernel's list, "0-1,4"; what is not one has no members."""
    numbers: set[int] = set()
    for part in text.strip().split(","):
        low, dash, high = part.partition("-")
        first, last = parse_integer(low), parse_integer(high if dash else low)
        if not isinstance(first, Absent) and not isinstance(last, Absent) and last - first < 1 << 16:
            numbers.update(range(first, last + 1))
    return frozenset(numbers)
