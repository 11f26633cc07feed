"""What placement knows of hosts and endpoints, and what it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rtt:
    """The round trips measured from one host to one endpoint.

    p50_ms, p95_ms: by nearest rank, milliseconds.
    n: how many round trips they come from.
    age_s: since the last of them, seconds.
    """

    p50_ms: float
    p95_ms: float
    n: int
    age_s: float


@dataclass(frozen=True, slots=True)
class HostState:
    """What is known of a host; None and absent mean unknown, never 0.

    name: the host's name.
    fabrics: the identity of each fabric domain that it is attached to, such as `ualink 3/1`.
    rtts: endpoint name → its round trips.
    free_memory_bytes: free memory of its accelerators together, bytes.
    load: the share of its accelerators that is busy, 0 to 1.
    problems: why it is unhealthy at present; none if it is not known to be.
    age_s: since it last reported, seconds.
    """

    name: str
    fabrics: frozenset[str] = frozenset()
    rtts: Mapping[str, Rtt] = field(default_factory=dict)
    free_memory_bytes: int | None = None
    load: float | None = None
    problems: tuple[str, ...] = ()
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A QPU's endpoint. fabrics: the fabric domains that reach it without the network."""

    name: str
    fabrics: frozenset[str] = frozenset()


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
