"""UALink as amdgpu shows it in sysfs, compared with AMD's library: the two have been seen to disagree."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shotclock.placement.accelerators.pci import PciFunction
from shotclock.placement.tree import Tree
from shotclock.placement.values import (
    Absent,
    Integer,
    Number,
    Text,
    is_known,
    parse_integer,
    parse_text,
    prefer,
    scale,
    shorten,
)

ACTIVE = frozenset(("active", "ready"))
"""States in which an accelerator can be reached; "unconfigured" lasts tens of seconds after a start."""
LINK_TYPES = {"ualoe": "UALoE", "ualink": "UALink", "uallink": "UALink"}
MEGABIT = 1e6


@dataclass(frozen=True, slots=True)
class UALink:
    """One accelerator's port to the rack.

    address: the accelerator's PCI address
    link_type: UALoE or UALink, or what else the driver says
    accel_id: its number in the rack
    accel_state: active, ready, configured, unconfigured
    bandwidth_bits_per_s: of the port
    latency_ns: declared
    ppod_id: the physical pod, a UUID; the rack
    ppod_size: accelerators in it
    vpod_id: the virtual pod, 0 if the accelerator is in none
    vpod_size: accelerators in the virtual pod
    vpod_active_accels: those that are active in it
    local_accels: those of this host
    addr_mode: how addresses are translated
    """

    address: str
    link_type: Text
    accel_id: Integer
    accel_state: Text
    bandwidth_bits_per_s: Number
    latency_ns: Integer
    ppod_id: Text
    ppod_size: Integer
    vpod_id: Integer
    vpod_size: Integer
    vpod_active_accels: tuple[int, ...] | Absent
    local_accels: tuple[int, ...] | Absent
    addr_mode: Text

    @property
    def domain(self) -> tuple[str, int] | Absent:
        """Accelerators with an equal one reach each other."""
        if isinstance(self.ppod_id, Absent):
            return self.ppod_id
        if isinstance(self.vpod_id, Absent):
            return self.vpod_id
        return (self.ppod_id, self.vpod_id) if self.vpod_id else Absent("it is in no virtual pod (vpod_id 0)")

    @property
    def is_active(self) -> bool | Absent:
        """Whether it can be reached."""
        return self.accel_state if isinstance(self.accel_state, Absent) else self.accel_state in ACTIVE


def read_ports(tree: Tree, functions: Sequence[PciFunction]) -> tuple[UALink, ...]:
    """Of the functions whose driver has UALink."""
    return tuple(_read(tree, each) for each in functions if tree.has(f"{each.path}/ualink"))


def _read(tree: Tree, function: PciFunction) -> UALink:
    folder = f"{function.path}/ualink"
    link_type, state = tree.text(f"{folder}/link_type"), tree.text(f"{folder}/accel_state")
    return UALink(
        function.address,
        link_type if isinstance(link_type, Absent) else LINK_TYPES.get(link_type.casefold(), link_type),
        tree.integer(f"{folder}/accel_id"),
        state if isinstance(state, Absent) else state.casefold(),
        scale(tree.integer(f"{folder}/bandwidth"), MEGABIT),
        tree.integer(f"{folder}/latency"),
        _fold(tree.text(f"{folder}/ppod_id")),
        tree.integer(f"{folder}/ppod_size"),
        tree.integer(f"{folder}/vpod_id"),
        tree.integer(f"{folder}/vpod_size"),
        _read_numbers(tree, folder, "vpod_active_accels", "config/vpod_active_accels"),
        _read_numbers(tree, folder, "local_accels", "setup/local_accels"),
        _fold(tree.text(f"{folder}/addr_mode")),
    )


def _fold(text: Text) -> Text:
    return text if isinstance(text, Absent) else text.casefold()


def _read_numbers(tree: Tree, folder: str, name: str, older: str) -> tuple[int, ...] | Absent:
    """A list of numbers, in the newer layout's file or the older one's."""
    text = prefer(tree.text(f"{folder}/{name}"), tree.text(f"{folder}/{older}"))
    if isinstance(text, Absent):
        return text
    numbers = [parse_integer(part) for part in re.split(r"[\s,]+", text)]
    known = tuple(number for number in numbers if not isinstance(number, Absent))
    return known if len(known) == len(numbers) else Absent(f"{name} is not a list (got {shorten(text)})")


def find_disagreements(port: UALink, library: Mapping[str, object] | Absent) -> Iterator[str]:
    """A line for each figure that AMD's library and sysfs report differently, names compared without case."""
    if isinstance(library, Absent):
        if port.is_active is True:
            yield (
                f"UALink of {port.address}: sysfs says {port.accel_state}, "
                f"AMD's library no fabric ({library.because})"
            )
        return
    reported = {name.casefold(): value for name, value in library.items()}
    ours = {
        "link_type": port.link_type,
        "accel_id": port.accel_id,
        "accel_state": port.accel_state,
        "ppod_id": port.ppod_id,
        "ppod_size": port.ppod_size,
        "vpod_id": port.vpod_id,
        "vpod_size": port.vpod_size,
    }
    for name, value in ours.items():
        other = reported.get(name, reported.get("fabric_type") if name == "link_type" else None)
        if not is_known(value) or other is None or not is_known(parse_text(str(other))):
            continue  # what one of them does not know does not contradict
        if _normalise(value) != _normalise(other):
            yield f"UALink of {port.address}: {name} is {value} in sysfs and {other} in AMD's library"


def _normalise(value: object) -> object:
    """Comparable: a number, or text without case, dashes and the prefix of an enumeration."""
    if isinstance(value, bytes | list | tuple):
        return (
            bytes(value).hex()
            if all(isinstance(part, int) and 0 <= part < 256 for part in value)
            else str(value)
        )
    text = str(value).strip()
    number = parse_integer(text)
    if not isinstance(number, Absent):
        return number
    folded = text.casefold().replace("-", "")
    folded = re.sub(r"^.*_(?=[a-z]+$)", "", folded)
    return LINK_TYPES.get(folded, folded)
