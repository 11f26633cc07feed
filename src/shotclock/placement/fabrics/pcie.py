"""PCIe links of devices: their width and speed against what they could have, and their error counts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent, Integer, Text

TOTALS = {"correctable": "COR", "nonfatal": "NONFATAL", "fatal": "FATAL"}


@dataclass(frozen=True, slots=True)
class PcieLink:
    """A device's link to its switch or root port.

    address: the device's PCI address
    width: lanes in use
    most_lanes: what device and slot could use
    speed: as the kernel writes it, "32.0 GT/s PCIe"; a link may slow down while it is idle
    correctable: errors that the link repaired
    nonfatal: errors that lost a transfer
    fatal: errors that broke the link
    """

    address: str
    width: Integer
    most_lanes: Integer
    speed: Text
    correctable: Integer
    nonfatal: Integer
    fatal: Integer

    @property
    def is_narrowed(self) -> bool:
        """Whether the link is known to use fewer lanes than it could."""
        if isinstance(self.width, Absent) or isinstance(self.most_lanes, Absent):
            return False
        return 0 < self.width < self.most_lanes


def read_link(tree: Tree, address: str, path: str) -> PcieLink:
    """Of the device whose folder is `path`."""
    return PcieLink(
        address,
        tree.integer(f"{path}/current_link_width"),
        tree.integer(f"{path}/max_link_width"),
        tree.text(f"{path}/current_link_speed"),
        *(read_errors(tree, path, severity) for severity in TOTALS),
    )


def read_errors(tree: Tree, path: str, severity: str) -> Integer:
    """The total of one file of Advanced Error Reporting."""
    file = f"{path}/aer_dev_{severity}"
    text = tree.content(file)
    if isinstance(text, Absent):
        return text
    match = re.search(rf"^TOTAL_ERR_{TOTALS[severity]}\s+(\d{{1,19}})\s*$", text, re.MULTILINE)
    return int(match[1]) if match else Absent(f"/{file}: has no total")
