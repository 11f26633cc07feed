"""One graph of several hosts: what each reports, the ways between them and the QPU, and what contradicts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from shotclock.domain.hosts import Endpoint, HostState, Rtt
from shotclock.placement.fabrics.ualink import UALink
from shotclock.placement.policy import Choice, choose_host
from shotclock.placement.rules import Rules
from shotclock.placement.same_host import Capability
from shotclock.placement.topology import Host
from shotclock.placement.values import Absent

QPU = "QPU"
"""One name for all endpoints: hosts may reach the same QPU by different addresses."""
RULES = Rules(fewest_probes=3)


@dataclass(frozen=True, slots=True)
class ReportedHost:
    """A host of the graph.

    host: as it sees itself; its name is that of no other host of the graph
    problems: what needs attention there
    source: where this comes from: this machine, a tree, or HOST:PORT
    state: what placement decides by, with RTTs from the caller to the QPU under the name `QPU`
    age_s: since the host read its devices, seconds; absent for a tree, which may be of any age
    is_stale: whether it should have read them again since
    """

    host: Host
    problems: tuple[str, ...]
    source: str
    state: HostState
    age_s: float | Absent
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A host without a report. because: the reason, one line."""

    host: str
    because: str


@dataclass(frozen=True, slots=True)
class Edge:
    """A way of quantum calls: from the caller to a host's orchestrator, or from a host to a QPU endpoint.

    host: where it begins
    endpoint: where it ends: an endpoint's name, or an orchestrator's HOST:PORT
    transport: what was measured: in process, gRPC (Probe), TCP handshake
    rtt: absent while it is not measured
    capabilities: other ways that payloads could take, and why they are or are not taken
    """

    host: str
    endpoint: str
    transport: str
    rtt: Rtt | Absent
    capabilities: tuple[Capability, ...] = ()


@dataclass(frozen=True, slots=True)
class Root:
    """A part of the graph that no known fabric joins to the others.

    fabrics: identities of the domains that join it; none for a host alone
    hosts: their names
    endpoints: QPU endpoints on one of the fabrics
    """

    fabrics: tuple[str, ...]
    hosts: tuple[str, ...]
    endpoints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Topology:
    """The graph.

    hosts: that report
    unreachable: that do not
    endpoints: of QPU calls
    edges: the ways to them
    roots: the parts that fabrics join
    choice: of a host for quantum-bound work
    problems: what needs attention, a line each
    """

    hosts: tuple[ReportedHost, ...]
    unreachable: tuple[Unreachable, ...]
    endpoints: tuple[Endpoint, ...]
    edges: tuple[Edge, ...]
    roots: tuple[Root, ...]
    choice: Choice
    problems: tuple[str, ...]


def name_apart(hosts: Iterable[ReportedHost]) -> tuple[ReportedHost, ...]:
    """The hosts; one whose name another has too is named with its source, and both have a problem."""
    listed = list(hosts)
    sources: dict[str, list[str]] = defaultdict(list)
    for each in listed:
        sources[each.host.name].append(each.source)
    renamed = []
    for each in listed:
        name, others = each.host.name, sources[each.host.name]
        if len(others) == 1:
            renamed.append(each)
            continue
        problem = f"{len(others)} hosts say that their name is {name}: {', '.join(others)}"
        host = replace(each.host, name=f"{name} ({each.source})")
        renamed.append(replace(each, host=host, problems=(problem, *each.problems)))
    return tuple(renamed)


def build_graph(
    hosts: Sequence[ReportedHost],
    endpoints: Mapping[str, Endpoint],
    edges: Sequence[Edge],
    unreachable: Sequence[Unreachable] = (),
) -> Topology:
    """The graph of hosts with different names (`name_apart`). endpoints: of each host, by its name."""
    distinct = _join_endpoints(endpoints.values())
    problems = [f"{each.host}: {each.because}" for each in unreachable]
    for each in hosts:
        problems += [f"{each.host.name}: {problem}" for problem in (*each.problems, *each.state.problems)]
        if each.is_stale and not isinstance(each.age_s, Absent):
            problems.append(f"{each.host.name}: its devices were last read {each.age_s:.0f} s ago: stale")
    problems += find_contradictions([each.host for each in hosts])
    return Topology(
        tuple(hosts),
        tuple(unreachable),
        distinct,
        tuple(edges),
        find_roots([(each.host.name, each.state.fabrics) for each in hosts], distinct),
        _choose(hosts, distinct, has_silent=bool(unreachable)),
        tuple(dict.fromkeys(problems)),
    )


def _join_endpoints(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Each name once, with the fabrics that any host knows of; emulated only where no host says otherwise."""
    by_name: dict[str, Endpoint] = {}
    for each in endpoints:
        before = by_name.get(each.name, each)
        emulated = before.emulated if before.emulated == each.emulated else None
        by_name[each.name] = Endpoint(each.name, before.fabrics | each.fabrics, emulated)
    return tuple(by_name[name] for name in sorted(by_name))


def _choose(hosts: Sequence[ReportedHost], endpoints: Sequence[Endpoint], *, has_silent: bool) -> Choice:
    if len(hosts) == 1:
        because = "it is the only host that answers" if has_silent else "it is the only host"
        return Choice(hosts[0].host.name, because)
    if not hosts:
        return Choice(None, "no host answers")
    fabrics = frozenset[str]().union(*(endpoint.fabrics for endpoint in endpoints))
    states = [replace(each.state, name=each.host.name) for each in hosts]
    return choose_host(states, Endpoint(QPU, fabrics), rules=RULES)


def find_roots(
    hosts: Iterable[tuple[str, frozenset[str]]], endpoints: Iterable[Endpoint]
) -> tuple[Root, ...]:
    """The parts that fabrics join; hosts that share no fabric domain are in different ones."""
    domains_of = {("host", name): domains for name, domains in hosts}
    domains_of |= {("endpoint", each.name): each.fabrics for each in endpoints if each.fabrics}
    parent: dict[str, str] = {}

    def find(domain: str) -> str:
        while (above := parent.setdefault(domain, domain)) != domain:
            parent[domain] = parent[above]
            domain = above
        return domain

    for domains in domains_of.values():
        first = min(domains, default="")
        for domain in domains:
            parent[find(domain)] = find(first)
    members: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for node, domains in domains_of.items():
        members[("fabric", find(min(domains))) if domains else node].append(node)
    roots = []
    for nodes in members.values():
        joined = {domain for node in nodes for domain in domains_of[node]}
        named = {kind: sorted(name for each, name in nodes if each == kind) for kind in ("host", "endpoint")}
        roots.append(Root(tuple(sorted(joined)), tuple(named["host"]), tuple(named["endpoint"])))
    return tuple(sorted(roots, key=lambda root: (not root.fabrics, root.fabrics, root.hosts)))


def find_contradictions(hosts: Sequence[Host]) -> Iterator[str]:
    """Identities that several devices have: a report is wrong, or one host answers at two addresses."""
    identities: dict[str, list[str]] = defaultdict(list)
    for host in hosts:
        for device in host.devices:
            if isinstance(device.uuid, str):
                identities[device.uuid].append(f"{device.address} of {host.name}")
        for port in host.fabric("ualink").devices:
            if isinstance(port, UALink) and isinstance(port.ppod_id, str) and isinstance(port.accel_id, int):
                name = f"accelerator {port.accel_id} of pod {port.ppod_id}"
                identities[name].append(f"{port.address} of {host.name}")
    for name, places in identities.items():
        if len(places) > 1:
            yield f"{name} is reported {len(places)} times: {', '.join(places[:3])}"
