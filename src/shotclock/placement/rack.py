"""Which rack a host is in. The kernel does not say; the first that does counts: the site, UALink, Slurm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shotclock.placement.fabrics.ualink import UALink
from shotclock.placement.values import Absent

NO_RACK = Absent("no label of the site, no physical pod of UALink and no block of Slurm names one")


@dataclass(frozen=True, slots=True)
class Rack:
    """A rack. source: label, ppod_id or slurm-block."""

    name: str
    source: str


def find_rack(ports: Sequence[UALink], label: str, environment: Mapping[str, str]) -> Rack | Absent:
    """By the site's label, else the physical pod of the ports, else the block of this Slurm job.

    environment: of a process on that host; empty for another machine's tree.
    """
    if label:
        return Rack(label, "label")
    pods = {port.ppod_id for port in ports if isinstance(port.ppod_id, str)}
    if len(pods) == 1:
        return Rack(pods.pop(), "ppod_id")
    if len(pods) > 1:
        return Absent(f"its UALink ports name several physical pods: {', '.join(sorted(pods))}")
    block = _read_block(environment)
    return Rack(block, "slurm-block") if block else NO_RACK


def _read_block(environment: Mapping[str, str]) -> str:
    """Of topology/block: the address is `b8.tux1` and its pattern `block.node`."""
    address = environment.get("SLURM_TOPOLOGY_ADDR", "").split(".")
    pattern = environment.get("SLURM_TOPOLOGY_ADDR_PATTERN", "").split(".")
    if len(address) < len(pattern):
        return ""
    blocks = [part for part, kind in zip(address, pattern, strict=False) if kind == "block"]
    return blocks[-1] if blocks else ""
