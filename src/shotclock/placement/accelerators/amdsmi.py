"""What the host's amdsmi reports, asked in a child process with a time limit, joined to what sysfs shows.

The build on the package index is unofficial and lacks fabric calls; a host with ROCm supplies its library.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shotclock.placement.accelerators import amdsmi_probe
from shotclock.placement.accelerators.child import parse_document, run_script
from shotclock.placement.accelerators.record import Accelerator, Device, ErrorCount, Link
from shotclock.placement.values import (
    Absent,
    Integer,
    Number,
    Text,
    or_else,
    parse_integer,
    parse_text,
    prefer,
)

WAIT_S = 10.0
"""For the import, the initialisation and about twenty calls a GPU."""
MIB, KIB, GB = 1 << 20, 1 << 10, 1e9
MOST_PERCENT = 100
UINT16_UNKNOWN = 0xFFFF
RESERVED = ("0", "AMDSMI_MEM_PAGE_STATUS_RESERVED", "RESERVED")
"""The state of a retired page, as builds write it."""


@dataclass(frozen=True, slots=True)
class Library:
    """What amdsmi answered about one GPU: a value, or `because`, for each figure. version: of amdsmi."""

    version: str
    answers: Mapping[str, Mapping[str, Any]]

    def value(self, figure: str, *keys: str) -> Any:
        """The answer, or one part of it; Absent if the library did not give it."""
        answer = self.answers.get(figure, {})
        if "value" not in answer:
            return Absent(str(answer.get("because", f"amdsmi was not asked for {figure}")))
        value = answer["value"]
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return Absent(f"amdsmi does not report {'.'.join((figure, *keys))}") if value is None else value

    def integer(self, figure: str, *keys: str) -> Integer:
        """A number that is not negative."""
        value = self.value(figure, *keys)
        if isinstance(value, Absent):
            return value
        number = parse_integer(str(value))
        return Absent(f"amdsmi: {figure} {number.because}") if isinstance(number, Absent) else number

    def text(self, figure: str, *keys: str) -> Text:
        """A text."""
        value = self.value(figure, *keys)
        return value if isinstance(value, Absent) else parse_text(str(value))

    @property
    def fabric(self) -> Mapping[str, object] | Absent:
        """What it says of UALink."""
        value = self.value("fabric")
        if isinstance(value, Absent | Mapping):
            return value
        return Absent("amdsmi: its fabric information is not a record")


def ask_library(python: str = sys.executable, wait_s: float = WAIT_S) -> dict[str, Library] | Absent:
    """By PCI address."""
    output = run_script(Path(amdsmi_probe.__file__), "amdsmi", wait_s, python)
    return output if isinstance(output, Absent) else parse_answer(output)


def parse_answer(output: bytes) -> dict[str, Library] | Absent:
    """The child's document; a GPU without an address is left out."""
    document = parse_document(output, "amdsmi")
    if isinstance(document, Absent):
        return document
    libraries = [Library(str(document["version"]), answers) for answers in document["devices"]]
    addresses = [(library.text("address"), library) for library in libraries]
    return {address.lower(): library for address, library in addresses if not isinstance(address, Absent)}


def join(accelerators: Sequence[Accelerator], libraries: Mapping[str, Library]) -> tuple[Accelerator, ...]:
    """With the library's figures where it has them."""
    return tuple(_join(each, libraries.get(each.device.address)) for each in accelerators)


def _join(accelerator: Accelerator, library: Library | None) -> Accelerator:
    if library is None:
        return accelerator
    device = join_device(accelerator.device, library)
    links = accelerator.links
    if not isinstance(links, Absent):
        links = tuple(_join_link(link, library) for link in links)
    is_whole = "/" not in accelerator.id
    return replace(
        accelerator,
        device=device,
        links=links,
        memory_total_bytes=device.memory_total_bytes if is_whole else accelerator.memory_total_bytes,
        memory_used_bytes=device.memory_used_bytes if is_whole else accelerator.memory_used_bytes,
    )


def join_device(device: Device, library: Library) -> Device:
    """The library's figures are preferred; what it does not know is as sysfs has it."""
    busy = prefer(_percent(library.integer("activity", "umc_activity")), device.memory_busy_ratio)
    maximum = library.integer("vram_info", "vram_max_bandwidth")
    power = prefer(
        library.integer("power", "current_socket_power"), library.integer("power", "average_socket_power")
    )
    return replace(
        device,
        name=prefer(library.text("asic", "market_name"), device.name),
        uuid=prefer(device.uuid, library.text("enumeration", "hip_uuid")),
        numa_node=prefer(library.integer("numa_node"), device.numa_node),
        compute_partition=prefer(library.text("compute_partition"), device.compute_partition),
        memory_partition=prefer(library.text("memory_partition"), device.memory_partition),
        memory_total_bytes=prefer(
            _times(library.integer("vram_usage", "vram_total"), MIB), device.memory_total_bytes
        ),
        memory_used_bytes=prefer(
            _times(library.integer("vram_usage", "vram_used"), MIB), device.memory_used_bytes
        ),
        memory_busy_ratio=busy,
        memory_maximum_bytes_per_s=maximum if isinstance(maximum, Absent) else maximum * GB,
        memory_bandwidth_ratio=busy,
        memory_bandwidth_method=busy if isinstance(busy, Absent) else "estimate",
        ecc=_join_errors(device, library),
        retired_pages=prefer(_count_pages(device, library), device.retired_pages),
        power_w=prefer(_below(power, UINT16_UNKNOWN), device.power_w),
        temperature_c=prefer(_below(library.integer("temperature"), UINT16_UNKNOWN), device.temperature_c),
        memory_temperature_c=prefer(
            _below(library.integer("memory_temperature"), UINT16_UNKNOWN), device.memory_temperature_c
        ),
        pcie_replays=prefer(library.integer("pcie", "pcie_metric", "pcie_replay_count"), device.pcie_replays),
    )


def _times(value: Integer, factor: int) -> Integer:
    return value if isinstance(value, Absent) else value * factor


def _percent(value: Integer) -> Number:
    if isinstance(value, Absent):
        return value
    return value / 100 if value <= MOST_PERCENT else Absent(f"amdsmi: {value} is not a percentage")


def _below(value: Integer, limit: int) -> Number:
    """A reading of 16 bits whose largest value means unknown."""
    return value if isinstance(value, Absent) or value < limit else Absent(f"amdsmi: {value} means unknown")


def _join_errors(device: Device, library: Library) -> tuple[ErrorCount, ...] | Absent:
    """Of the memory controllers; a 0 counts only where the driver says that it counts."""
    counts = []
    for severity in ("uncorrectable", "correctable", "deferred"):
        count = or_else(library.integer("ecc", f"{severity}_count"), 0)
        if count or (device.has_ecc is True and "value" in library.answers.get("ecc", {})):
            counts.append(ErrorCount("umc", severity, count))
    others = tuple(error for error in or_else(device.ecc, ()) if error.block != "umc" or not counts)
    return (*others, *counts) or device.ecc


def _count_pages(device: Device, library: Library) -> Integer:
    pages = library.value("bad_pages")
    if isinstance(pages, Absent):
        return pages
    if not isinstance(pages, list):
        return Absent("amdsmi: its retired pages are not a list")
    count = sum(str(page.get("status")) in RESERVED for page in pages if isinstance(page, dict))
    return count if count or device.has_ecc is True else Absent("amdsmi: 0 retired pages are not trusted")


def _join_link(link: Link, library: Library) -> Link:
    """Bytes are counted in KiB by each GPU for each link."""
    links = library.value("links", "links")
    for each in links if isinstance(links, list) else ():
        if isinstance(each, dict) and str(each.get("bdf", "")).lower() == re.sub(r"/\d+$", "", link.to):
            read, written = parse_integer(str(each.get("read"))), parse_integer(str(each.get("write")))
            return replace(link, read_bytes=_times(read, KIB), written_bytes=_times(written, KIB))
    return link
