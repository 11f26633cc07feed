"""How payloads could reach a QPU endpoint besides its transport, and why calls take none of these ways today.

The measurements behind the reasons are in docs/decisions/2026-11-22-same-host-transport.md.
"""

from __future__ import annotations

from shotclock.placement.same_host import Capability


def list_capabilities(
    *, is_same_host: bool, has_accelerator: bool, shared: frozenset[str] = frozenset()
) -> tuple[Capability, ...]:
    """Of an edge between a host and an endpoint. shared: the fabric domains that both are on."""
    memory = "a Unix socket is as fast at 1 KB a call; share the process, or use gRPC"
    pinned = "torch copies between HBM and pinned host memory" if has_accelerator else "it has no accelerator"
    fabric = (
        f"both are on {', '.join(sorted(shared))}, as the site says"
        if shared
        else "no public QPU is attached to UALink, CXL, XGMI or RDMA"
    )
    return (
        Capability("same fabric", bool(shared), fabric),
        Capability("shared memory", False, memory if is_same_host else "the endpoint is on another host"),
        Capability("pinned transfer", has_accelerator, pinned),
        Capability("P2P DMA", False, "no QPU controller is a PCI device, so that DMA has no peer"),
    )
