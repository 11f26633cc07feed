"""What is known of the hosts that quantum-bound work can run on, and of their way to the QPU."""

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
    refusals: why its health policy refuses calls at present; none where it takes them.
    age_s: since it last reported, seconds.
    """

    name: str
    fabrics: frozenset[str] = frozenset()
    rtts: Mapping[str, Rtt] = field(default_factory=dict)
    free_memory_bytes: int | None = None
    load: float | None = None
    problems: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where QPU calls go.

    name: the provider's, or HOST:PORT.
    fabrics: the fabric domains that reach it without the network.
    emulated: whether no QPU is behind it; None if that is not known.
    """

    name: str
    fabrics: frozenset[str] = frozenset()
    emulated: bool | None = None


@dataclass(frozen=True, slots=True)
class HostDescription:
    """A host's accelerators, fabrics and components as it last read them.

    document: JSON; "" where they were not read yet.
    age_s: since they were read, seconds.
    every_s: how often they are read, seconds.
    """

    document: str
    age_s: float
    every_s: float
