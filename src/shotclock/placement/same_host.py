"""Ways from a caller to an orchestrator on the same host, and why the special ones are not used.

The measurements behind the reasons are in docs/decisions/2026-11-22-same-host-transport.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RDMA_DEVICES = Path("sys/class/infiniband")
CXL_DEVICES = Path("sys/bus/cxl/devices")


@dataclass(frozen=True, slots=True)
class Capability:
    """A transport for payloads; because: why it is or is not used."""

    name: str
    available: bool
    because: str

    def __str__(self) -> str:
        return f"{'available' if self.available else 'unavailable'}, because {self.because}"


def same_host(root: Path = Path("/")) -> tuple[Capability, ...]:
    """The transports between processes of this host; `root` replaces the file system's root in tests."""
    return (
        Capability("in process", True, "nothing is serialised there"),
        Capability("gRPC over loopback", True, "it brings deadlines, cancellation and identity"),
        Capability(
            "shared memory",
            False,
            "a Unix socket is as fast at 1 KB a call; share the process, or use gRPC",
        ),
        _rdma(root),
        _cxl(root),
    )


def _rdma(root: Path) -> Capability:
    if not _devices(root / RDMA_DEVICES):
        return Capability("RDMA", False, "this host has no RDMA device")
    return Capability(
        "RDMA", False, "a call carries about 1 KB, and waking the other side takes longer than copying it"
    )


def _cxl(root: Path) -> Capability:
    if not _devices(root / CXL_DEVICES):
        return Capability("CXL", False, "this host has no CXL device")
    return Capability("CXL", False, "no public QPU is attached by CXL, and 1 KB gains nothing from it")


def _devices(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())
