"""What is known of an accelerator. A partitioned device is several accelerators that share its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shotclock.placement.values import Absent, Integer, Number, Text

NOT_READ = Absent("was not read")
ECC_OFF = "ECC of HBM is off; errors of memory are not seen"
"""The end of a problem's text."""


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """Memory errors of one block of the chip. severity: correctable, uncorrectable or deferred."""

    block: str
    severity: str
    count: int


@dataclass(frozen=True, slots=True)
class Link:
    """A link from one accelerator to another over XGMI.

    to: the other end's PCI address and partition, or the node's number where KFD alone knows it
    is_up: whether the driver enabled it
    read_bytes: read through it since the driver was loaded
    written_bytes: written through it since the driver was loaded
    """

    to: str
    is_up: bool | Absent = NOT_READ
    read_bytes: Integer = NOT_READ
    written_bytes: Integer = NOT_READ


@dataclass(frozen=True, slots=True)
class Device:
    """One PCI function with its figures, which no partition has for itself.

    address: its PCI address
    vendor: AMD or NVIDIA
    name: the product
    uuid: the identity that visibility masks take, GPU-…
    card: its name in /sys/class/drm
    driver: the kernel module that is bound to it
    numa_node: the nearest
    compute_partition: SPX, DPX, TPX, QPX or CPX
    memory_partition: NPS1, NPS2, NPS4 or NPS8
    memory_total_bytes: HBM
    memory_used_bytes: HBM in use
    memory_busy_ratio: share of time in which the memory controllers were busy
    memory_maximum_bytes_per_s: the bandwidth of HBM
    memory_bandwidth_ratio: the share of it in use
    memory_bandwidth_method: how that was found: estimate (from busy)
    has_ecc: whether the driver counts errors of HBM
    ecc: error counts since the driver was loaded; a 0 that is not to be trusted is left out
    retired_pages: pages of HBM taken out of use
    power_w: of the socket
    temperature_c: of the hottest spot
    memory_temperature_c: of HBM
    pcie_replays: packets sent again over PCIe since the driver was loaded
    vbios: its version
    firmware: version of each block of the chip that has one
    """

    address: str
    vendor: str
    name: Text = NOT_READ
    uuid: Text = NOT_READ
    card: Text = NOT_READ
    driver: Text = NOT_READ
    numa_node: Integer = NOT_READ
    compute_partition: Text = NOT_READ
    memory_partition: Text = NOT_READ
    memory_total_bytes: Integer = NOT_READ
    memory_used_bytes: Integer = NOT_READ
    memory_busy_ratio: Number = NOT_READ
    memory_maximum_bytes_per_s: Number = NOT_READ
    memory_bandwidth_ratio: Number = NOT_READ
    memory_bandwidth_method: Text = NOT_READ
    has_ecc: bool | Absent = NOT_READ
    ecc: tuple[ErrorCount, ...] | Absent = NOT_READ
    retired_pages: Integer = NOT_READ
    power_w: Number = NOT_READ
    temperature_c: Number = NOT_READ
    memory_temperature_c: Number = NOT_READ
    pcie_replays: Integer = NOT_READ
    vbios: Text = NOT_READ
    firmware: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What a process can be placed on: a device, or a partition of one.

    id: GPU-… with the partition where the device has several; "pci:" and the address without a UUID
    partition: its number in the device, 0 in one that is whole
    memory_total_bytes: what it can allocate
    memory_used_bytes: what is allocated; absent for a partition, which the driver does not count
    hive: accelerators with an equal one reach each other over XGMI
    links: over XGMI
    device: the PCI function it is on
    """

    id: str
    partition: int
    memory_total_bytes: Integer
    memory_used_bytes: Integer
    hive: Text
    links: tuple[Link, ...] | Absent
    device: Device
