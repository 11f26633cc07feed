"""Graphics and compute functions on the PCI bus, whether a driver is bound to them or not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent, Text, is_known, or_else

DEVICES = "sys/bus/pci/devices"
CARDS = "sys/class/drm"
VENDORS = {0x1002: "AMD", 0x10DE: "NVIDIA"}
ADDRESS = r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]"
DISPLAY, PROCESSING = 0x03, 0x12
"""Base classes of the PCI code: a GPU with a display engine or a 3D controller, and an accelerator."""


@dataclass(frozen=True, slots=True)
class PciFunction:
    """A function of one of the vendors.

    address: its PCI address
    vendor: AMD or NVIDIA
    path: its folder in the tree
    card: its name in /sys/class/drm
    """

    address: str
    vendor: str
    path: str
    card: Text


def list_functions(tree: Tree) -> tuple[PciFunction, ...]:
    """By PCI address; a card whose function is not listed counts too, as in a partial copy of a tree."""
    cards = _list_cards(tree)
    functions = {}
    for address in tree.names(DEVICES, ADDRESS):
        path = f"{DEVICES}/{address}"
        base = or_else(tree.integer(f"{path}/class"), 0) >> 16
        vendor = VENDORS.get(or_else(tree.integer(f"{path}/vendor"), 0))
        if vendor and base in {DISPLAY, PROCESSING}:
            card = cards.get(address, Absent("the driver shows no card for it in /sys/class/drm"))
            functions[address] = PciFunction(address, vendor, path, card)
    for address, card in cards.items():
        path = f"{CARDS}/{card}/device"
        vendor = VENDORS.get(or_else(tree.integer(f"{path}/vendor"), 0))
        if vendor and address not in functions:
            functions[address] = PciFunction(address, vendor, path, card)
    return tuple(functions[address] for address in sorted(functions))


def _list_cards(tree: Tree) -> dict[str, str]:
    """The cards by PCI address; partitions of a device have cards without one."""
    return dict(_pairs(tree))


def _pairs(tree: Tree) -> Iterator[tuple[str, str]]:
    for card in tree.names(CARDS, r"card\d+"):
        address = address_of(tree, f"{CARDS}/{card}/device")
        if is_known(address):
            yield str(address), card


def address_of(tree: Tree, path: str) -> Text:
    """The PCI address of the device that the path leads to; a link says it, or the device's uevent."""
    resolved = tree.resolve(path)
    if isinstance(resolved, Absent):
        return resolved
    name = resolved.rpartition("/")[2]
    if re.fullmatch(ADDRESS, name):
        return name
    events = tree.content(f"{path}/uevent")
    for line in or_else(events, "").splitlines():
        key, _, value = line.partition("=")
        if key == "PCI_SLOT_NAME" and re.fullmatch(ADDRESS, value.lower()):
            return value.lower()
    return Absent(f"/{path}: does not lead to a PCI device")
