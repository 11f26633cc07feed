"""RDMA devices and their ports. Names of counters differ by driver, so that each is judged by its pattern.

Soft-RoCE (rxe) has no `counters`, no PCI device and an empty `fw_ver`; its NIC's name is in `parent`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from shotclock.placement.accelerators.amdgpu import read_driver_name
from shotclock.placement.accelerators.pci import address_of
from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent, Integer, Text, is_known, or_else, prefer

DEVICES = "sys/class/infiniband"
WORD_BYTES = 4
"""port_rcv_data and port_xmit_data count words."""
NOT_COUNTERS = frozenset(("lifespan",))
"""A setting among the counters: how long the driver keeps them, in ms."""
_ERRORS = re.compile(
    r"err(or)?s?(_|$)|discard|drop|overrun|timeout|retr(y|ies|ans)|nak|out_of_|oos|oob|duplicate|icrc"
    r"|link_downed|missing|exceeded|fail|symbol_error|seq_request"
)
_BYTES = {
    "received": re.compile(r"rx(_rdma)?(_[um]cast)?_bytes"),
    "sent": re.compile(r"tx(_rdma)?(_[um]cast)?_bytes"),
}


@dataclass(frozen=True, slots=True)
class RdmaPort:
    """One port.

    number: from 1
    state: ACTIVE, DOWN, …; a port that is down can still be read
    rate: as the kernel writes it; it is the same whether the port is up or down
    link_layer: InfiniBand or Ethernet
    received_bytes: since the driver was loaded
    sent_bytes: since the driver was loaded
    errors: counters of errors, losses and repetitions, by the driver's names
    """

    number: int
    state: Text
    rate: Text
    link_layer: Text
    received_bytes: Integer
    sent_bytes: Integer
    errors: Mapping[str, int]

    @property
    def is_up(self) -> bool | Absent:
        """Whether it is active."""
        return self.state if isinstance(self.state, Absent) else self.state == "ACTIVE"


@dataclass(frozen=True, slots=True)
class RdmaDevice:
    """One device.

    name: in /sys/class/infiniband
    address: its PCI address
    driver: the kernel module
    firmware: its version
    numa_node: the nearest
    netdev: the network device that carries it
    netdev_state: up, down or unknown
    netdev_bits_per_s: its speed
    ports: its ports
    """

    name: str
    address: Text
    driver: Text
    firmware: Text
    numa_node: Integer
    netdev: Text
    netdev_state: Text
    netdev_bits_per_s: Integer
    ports: tuple[RdmaPort, ...]


def read_devices(tree: Tree) -> tuple[RdmaDevice, ...]:
    """By name."""
    return tuple(_read(tree, name) for name in tree.names(DEVICES, r"\w[\w.-]{0,63}"))


def _read(tree: Tree, name: str) -> RdmaDevice:
    folder = f"{DEVICES}/{name}"
    netdev = _read_netdev(tree, folder)
    state: Text = netdev if isinstance(netdev, Absent) else tree.text(f"sys/class/net/{netdev}/operstate")
    speed: Integer = netdev if isinstance(netdev, Absent) else tree.integer(f"sys/class/net/{netdev}/speed")
    return RdmaDevice(
        name,
        address_of(tree, f"{folder}/device"),
        read_driver_name(tree, f"{folder}/device"),
        tree.text(f"{folder}/fw_ver"),
        tree.integer(f"{folder}/device/numa_node"),
        netdev,
        state,
        speed if isinstance(speed, Absent) else speed * 10**6,
        tuple(
            _read_port(tree, f"{folder}/ports", int(port))
            for port in tree.names(f"{folder}/ports", r"\d{1,3}")
        ),
    )


def _read_netdev(tree: Tree, folder: str) -> Text:
    """Of the PCI device, else the one that a software device is on."""
    names = tree.names(f"{folder}/device/net", r"\w[\w.-]{0,15}")
    if names:
        return names[0]
    parent = tree.text(f"{folder}/parent")
    if isinstance(parent, Absent) or re.fullmatch(r"\w[\w.-]{0,15}", parent):
        return parent
    return Absent(f"/{folder}/parent: is not a name")


def _read_port(tree: Tree, ports: str, number: int) -> RdmaPort:
    folder = f"{ports}/{number}"
    state = tree.text(f"{folder}/state")
    counters = _read_counters(tree, folder)
    return RdmaPort(
        number,
        state if isinstance(state, Absent) else state.rpartition(":")[2].strip().upper(),
        tree.text(f"{folder}/rate"),
        tree.text(f"{folder}/link_layer"),
        prefer(_count_words(tree, folder, "port_rcv_data"), _add_bytes(counters, "received")),
        prefer(_count_words(tree, folder, "port_xmit_data"), _add_bytes(counters, "sent")),
        {name: count for name, count in counters.items() if _ERRORS.search(name)},
    )


def _count_words(tree: Tree, folder: str, name: str) -> Integer:
    words = tree.integer(f"{folder}/counters/{name}")
    return words if isinstance(words, Absent) else words * WORD_BYTES


def _add_bytes(counters: Mapping[str, int], direction: str) -> Integer:
    """From hardware counters, where the driver has them in bytes."""
    counts = [count for name, count in counters.items() if _BYTES[direction].fullmatch(name)]
    return sum(counts) if counts else Absent(f"no counter of bytes {direction}")


def _read_counters(tree: Tree, folder: str) -> dict[str, int]:
    """Every readable counter; one of `counters` wins over one of its name in `hw_counters`."""
    counters: dict[str, int] = {}
    for group in ("hw_counters", "counters"):
        for name in tree.names(f"{folder}/{group}", r"\w{1,64}"):
            value = tree.integer(f"{folder}/{group}/{name}")
            if is_known(value) and name not in NOT_COUNTERS:
                counters[name] = or_else(value, 0)
    return dict(sorted(counters.items()))
