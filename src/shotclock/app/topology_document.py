"""A topology as the document of `shotclock topology --json`; scripts read its keys."""

from __future__ import annotations

from typing import Any

from shotclock.app.topology import View
from shotclock.domain.hosts import Endpoint, Rtt
from shotclock.placement.graph import Edge, ReportedHost
from shotclock.placement.policy import Choice
from shotclock.placement.rtt import FEWEST_P50, FEWEST_P95
from shotclock.placement.values import Absent, describe

USERS = Absent("it is a user's provider")
NOWHERE = Absent("no host answers")


def make_document(view: View) -> dict[str, object]:
    """What is unknown is in the `absent` of its record, with the reason, and nowhere else."""
    topology = view.topology
    return {
        "hosts": [_describe_host(each) for each in topology.hosts],
        "unreachable": describe(topology.unreachable),
        "endpoints": [_describe_endpoint(each) for each in topology.endpoints],
        "edges": [_describe_edge(each) for each in topology.edges],
        "roots": describe(topology.roots),
        "choice": _describe_choice(topology.choice),
        "problems": describe(topology.problems),
        "changes": describe(view.changes),
        "acknowledged_at": view.acknowledged_at,
    }


def _describe_host(each: ReportedHost) -> dict[str, object]:
    state = each.state
    document = _as_mapping(describe(each.host))
    document |= {"source": each.source, "stale": each.is_stale, "problems": list(each.problems)}
    document |= {"fabric_domains": sorted(state.fabrics)}
    if state.free_memory_bytes is not None:
        document["free_memory_bytes"] = state.free_memory_bytes
    if state.load is not None:
        document["load"] = state.load
    return _put(document, "age_s", each.age_s)


def _describe_endpoint(endpoint: Endpoint) -> dict[str, object]:
    document: dict[str, object] = {"name": endpoint.name, "fabrics": sorted(endpoint.fabrics)}
    return _put(document, "emulated", USERS if endpoint.emulated is None else endpoint.emulated)


def _describe_edge(edge: Edge) -> dict[str, object]:
    document: dict[str, object] = {
        "host": edge.host,
        "endpoint": edge.endpoint,
        "transport": edge.transport,
        "capabilities": describe(edge.capabilities),
    }
    return _put(document, "rtt_ms", edge.rtt if isinstance(edge.rtt, Absent) else _describe_rtt(edge.rtt))


def _describe_rtt(rtt: Rtt) -> dict[str, object]:
    document: dict[str, object] = {"n": rtt.n, "age_s": round(rtt.age_s, 3)}
    for name, value in percentiles(rtt).items():
        document = _put(document, name, value if isinstance(value, Absent) else round(value, 4))
    return document


def percentiles(rtt: Rtt) -> dict[str, float | Absent]:
    """Milliseconds; one that would rest on too few round trips is absent."""
    known = {"p50": (rtt.p50_ms, FEWEST_P50), "p95": (rtt.p95_ms, FEWEST_P95)}
    return {
        name: value if rtt.n >= fewest else Absent(f"too few round trips: {rtt.n} of at least {fewest}")
        for name, (value, fewest) in known.items()
    }


def _describe_choice(choice: Choice) -> dict[str, object]:
    document: dict[str, object] = {"because": choice.because}
    return _put(document, "host", NOWHERE if choice.host is None else choice.host)


def _put(document: dict[str, object], name: str, value: object) -> dict[str, object]:
    """The document with the value, or with its reason."""
    if not isinstance(value, Absent):
        return document | {name: value}
    absent: Any = document.get("absent", {})
    return document | {"absent": {**absent, name: value.because}}


def _as_mapping(document: object) -> dict[str, object]:
    if not isinstance(document, dict):
        raise TypeError(f"a host is described by {type(document).__name__}")
    return document
