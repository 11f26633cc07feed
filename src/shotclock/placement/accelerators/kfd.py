"""AMD's compute nodes as the kernel's KFD lists them: partitions of devices, their memory and their links."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from shotclock.placement.accelerators.record import Link
from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent, Integer, Text, is_known, or_else, parse_fields, pick_integer

NODES = "sys/class/kfd/kfd/topology/nodes"
XGMI = 11
"""The type of a link; 2 is PCIe."""
ENABLED = 1
"""Of a link's flags."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node that computes on a GPU.

    number: its folder
    address: the PCI address of its device
    partition: its number in the device
    uuid: the device's identity, GPU-…
    hive: what its XGMI neighbours share
    memory_bytes: what it can allocate
    links: over XGMI, to nodes by their numbers
    """

    number: str
    address: str
    partition: int
    uuid: Text
    hive: Text
    memory_bytes: Integer
    links: tuple[Link, ...]


def read_nodes(tree: Tree, addresses: Collection[str]) -> tuple[Node, ...]:
    """The GPUs' nodes, whose devices are at these PCI addresses; a node of another address is left out."""
    nodes = (_read_node(tree, number, addresses) for number in tree.names(NODES, r"\d{1,6}"))
    return tuple(node for node in nodes if node is not None)


def _read_node(tree: Tree, number: str, addresses: Collection[str]) -> Node | None:
    path = f"{NODES}/{number}"
    if not or_else(tree.integer(f"{path}/gpu_id"), 0):
        return None  # a CPU's
    properties = _read_properties(tree, path)
    if isinstance(properties, Absent):
        return None
    location, domain = pick_integer(properties, "location_id"), pick_integer(properties, "domain")
    if isinstance(location, Absent):
        return None
    address, partition = locate(location, or_else(domain, 0), addresses)
    if address not in addresses:
        return None
    return Node(
        number,
        address,
        partition,
        _format(properties, "unique_id", "GPU-{:016x}"),
        _format(properties, "hive_id", "{:016x}"),
        _read_memory(tree, path),
        _read_links(tree, path),
    )


def locate(location: int, domain: int, addresses: Collection[str]) -> tuple[str, int]:
    """PCI address and partition of a node's location_id.

    The kernel puts a partition's number in bits 31 to 28, and newer ones where the PCI function is.
    """
    bus, device, function = location >> 8 & 0xFF, location >> 3 & 0x1F, location & 7
    base = f"{domain:04x}:{bus:02x}:{device:02x}"
    if (address := f"{base}.{function}") in addresses:
        return address, location >> 28
    return f"{base}.0", function


def _format(properties: dict[str, str], name: str, template: str) -> Text:
    """An identity; 0 is not one."""
    value = pick_integer(properties, name)
    if isinstance(value, Absent):
        return value
    return template.format(value) if value else Absent(f"KFD has no {name} for it")


def _read_properties(tree: Tree, path: str) -> dict[str, str] | Absent:
    text = tree.content(f"{path}/properties")
    return text if isinstance(text, Absent) else parse_fields(text)


def _read_memory(tree: Tree, path: str) -> Integer:
    sizes = []
    for bank in tree.names(f"{path}/mem_banks", r"\d{1,4}"):
        properties = _read_properties(tree, f"{path}/mem_banks/{bank}")
        size = properties if isinstance(properties, Absent) else pick_integer(properties, "size_in_bytes")
        if isinstance(size, Absent):
            return size  # the sum of the others would be too small
        sizes.append(size)
    return sum(sizes) if sizes else Absent(f"/{path}/mem_banks: has no bank")


def _read_links(tree: Tree, path: str) -> tuple[Link, ...]:
    links = []
    for name in tree.names(f"{path}/io_links", r"\d{1,5}"):
        properties = _read_properties(tree, f"{path}/io_links/{name}")
        if isinstance(properties, Absent) or pick_integer(properties, "type") != XGMI:
            continue
        to, flags = pick_integer(properties, "node_to"), pick_integer(properties, "flags")
        if is_known(to):
            links.append(Link(str(to), flags if isinstance(flags, Absent) else bool(flags & ENABLED)))
    return tuple(links)
