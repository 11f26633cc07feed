"""What work must have of its host, and how the states of hosts are judged."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Needs:
    """What the work must have.

    memory_bytes: free accelerator memory, bytes; hosts with less are excluded.
    same_fabric: whether hosts outside the endpoint's fabrics are excluded.
    rtt_p95_ms: the highest p95, milliseconds; hosts above it or without one are excluded.
    """

    memory_bytes: int = 0
    same_fabric: bool = False
    rtt_p95_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """How states are judged.

    gone_s: hosts that have not reported for so long are excluded, seconds.
    stale_s: RTTs older than this come after every fresh one, seconds.
    fewest_probes: RTTs of fewer round trips come after those of enough.
    rtt_tolerance: p95s within this share of the lowest are equal.
    rtt_floor_ms: and so are those within so many milliseconds of it.
    memory_tolerance: free memory within this share of the largest is equal.
    load_tolerance: loads within this difference of the lowest are equal.
    quarantine_s: how long a host that was unhealthy comes after the healthy ones, seconds.
    """

    gone_s: float = 30.0
    stale_s: float = 60.0
    fewest_probes: int = 20
    rtt_tolerance: float = 0.1
    rtt_floor_ms: float = 0.05
    memory_tolerance: float = 0.1
    load_tolerance: float = 0.1
    quarantine_s: float = 300.0


NO_NEEDS = Needs()
DEFAULT_RULES = Rules()
