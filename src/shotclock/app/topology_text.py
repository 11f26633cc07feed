"""A topology as an indented outline, for a person."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from shotclock.app.topology import THIS_MACHINE, View
from shotclock.app.topology_document import percentiles
from shotclock.domain.hosts import Rtt
from shotclock.domain.plural import count
from shotclock.placement.accelerators.record import Accelerator, Device, Link
from shotclock.placement.fabrics.cxl import CxlMemory
from shotclock.placement.fabrics.pcie import PcieLink
from shotclock.placement.fabrics.rdma import RdmaDevice
from shotclock.placement.fabrics.ualink import UALink
from shotclock.placement.fabrics.xgmi import Hive
from shotclock.placement.graph import Edge, ReportedHost, Root
from shotclock.placement.same_host import Capability
from shotclock.placement.topology import FabricDevice
from shotclock.placement.values import Absent, is_known, or_else

GIB = 1 << 30


def outline(view: View) -> Iterator[str]:
    """Lines without colour."""
    topology = view.topology
    for each in topology.hosts:
        yield from _describe_host(each, has_source=len(topology.hosts) > 1 or each.source != THIS_MACHINE)
    yield from (f"{each.host} is not in this graph: {each.because}" for each in topology.unreachable)
    if len(topology.hosts) > 1:
        yield "fabric domains"
        yield from (f"  {line}" for line in _describe_roots(topology.roots))
    yield "endpoints"
    for endpoint in topology.endpoints:
        yield f"  {endpoint.name}{' (EMULATED)' if endpoint.emulated is True else ''}"
    yield from _describe_edges(topology.edges)
    yield f"choice: {topology.choice.host or 'no host'}, because {topology.choice.because}"
    yield f"versions: {_describe_versions(view)}"
    yield "problems" if topology.problems else "no problems"
    yield from (f"  {problem}" for problem in topology.problems)


def _describe_versions(view: View) -> str:
    components = sum(len(each.host.components) for each in view.topology.hosts)
    words = f"{count(components, 'component')}, "
    if not view.compares:
        return f"{words}compared on each host by `shotclock topology` there"
    if not view.acknowledged_at:
        return f"{words}never acknowledged"
    return f"{words}{count(len(view.changes), 'change')} since {view.acknowledged_at}"


def _describe_roots(roots: Sequence[Root]) -> Iterator[str]:
    for root in roots:
        if root.fabrics:
            members = (*root.hosts, *(f"endpoint {name}" for name in root.endpoints))
            yield f"{', '.join(root.fabrics)}: {', '.join(members)}"
    if alone := [name for root in roots if not root.fabrics for name in root.hosts]:
        yield f"none known: {', '.join(alone)}"


def _describe_host(each: ReportedHost, *, has_source: bool) -> Iterator[str]:
    host = each.host
    kernel = or_else(host.kernel, "of unknown release")
    yield f"{host.name} (Linux {kernel}){_describe_place(each, has_source)}"
    yield f"  accelerators: {host.accelerators_because}"
    for device in host.devices:
        yield from _describe_device(device)
        members = [each for each in host.accelerators if each.device.address == device.address]
        if len(members) > 1:
            yield f"      {count(len(members), 'partition')}: {_describe_partitions(members)}"
        yield from _describe_links(members)
    yield "  fabrics"
    for fabric in host.fabrics:
        yield f"    {fabric.kind:<7}{'available' if fabric.available else 'unavailable'}: {fabric.because}"
        yield from (f"      {line}" for device in fabric.devices if (line := _describe_fabric_device(device)))


def _describe_place(each: ReportedHost, has_source: bool) -> str:
    """Rack, source and age, as far as they say something."""
    words = [f"from {each.source}"] if has_source else []
    if not isinstance(each.host.rack, Absent):
        words.append(f"rack {each.host.rack.name} by {each.host.rack.source}")
    if not isinstance(each.age_s, Absent) and each.source != THIS_MACHINE:
        words.append(f"read {each.age_s:.0f} s ago{', stale' if each.is_stale else ''}")
    return f", {', '.join(words)}" if words else ""


def _describe_device(device: Device) -> Iterator[str]:
    words = [device.address, or_else(device.name, f"{device.vendor} device"), or_else(device.uuid, "no UUID")]
    if isinstance(device.compute_partition, str):
        words.append(device.compute_partition)
    if isinstance(device.numa_node, int):
        words.append(f"NUMA node {device.numa_node}")
    yield f"    {', '.join(words)}"
    yield f"      {', '.join(_list_figures(device))}"


def _list_figures(device: Device) -> Iterator[str]:
    total, used = device.memory_total_bytes, device.memory_used_bytes
    if isinstance(total, Absent):
        yield "memory unknown"
    elif isinstance(used, Absent):
        yield f"{gib(total)} GiB"
    else:
        yield f"{gib(used)} of {gib(total)} GiB used"
    if not isinstance(device.memory_busy_ratio, Absent):
        yield f"memory busy {device.memory_busy_ratio:.0%}"
    if not isinstance(device.power_w, Absent):
        yield f"{device.power_w:.0f} W"
    if not isinstance(device.temperature_c, Absent):
        yield f"{device.temperature_c:.0f} °C"
    if isinstance(device.ecc, Absent):
        yield "memory errors unknown"
    else:
        errors = [f"{error.count} {error.severity} in {error.block}" for error in device.ecc if error.count]
        yield f"memory errors: {', '.join(errors)}" if errors else "no memory errors"
    if isinstance(device.retired_pages, int):
        yield count(device.retired_pages, "retired page")
    if isinstance(device.pcie_replays, int):
        yield count(device.pcie_replays, "PCIe replay")


def gib(size: int) -> str:
    """In GiB."""
    return f"{size / GIB:.1f}"


def _describe_partitions(members: list[Accelerator]) -> str:
    sizes = {each.memory_total_bytes for each in members}
    names = f"{members[0].id} to {members[-1].partition}"
    if len(sizes) == 1 and not isinstance(size := sizes.pop(), Absent):
        return f"{names}, {gib(size)} GiB each"
    return names


def _describe_links(members: list[Accelerator]) -> Iterator[str]:
    links: list[Link] = [link for each in members for link in or_else(each.links, ())]
    if links:
        up = sum(link.is_up is True for link in links)
        yield f"      XGMI: {up} of {count(len(links), 'link')} enabled"


def _describe_fabric_device(device: FabricDevice) -> str:
    match device:
        case UALink():
            return _describe_port(device)
        case CxlMemory():
            return _describe_memory(device)
        case RdmaDevice():
            states = [f"port {port.number} {or_else(port.state, 'unknown')}" for port in device.ports]
            errors = sum(sum(port.errors.values()) for port in device.ports)
            place = or_else(device.address, or_else(device.netdev, "no address"))
            return f"{device.name}: {', '.join([place, *states])}, {count(errors, 'error')} counted"
        case PcieLink():
            return f"{device.address}: {or_else(device.speed, 'unknown speed')} ×{or_else(device.width, '?')}"
        case Hive():
            members = count(len(device.members), "accelerator")
            return f"{device.id}: {members}, {count(device.links, 'link end')} enabled"


def _describe_port(port: UALink) -> str:
    domain = port.domain
    where = domain.because if isinstance(domain, Absent) else f"pod {domain[0]}, virtual pod {domain[1]}"
    number = or_else(port.accel_id, "unknown")
    state = or_else(port.accel_state, "in an unknown state")
    kind = or_else(port.link_type, "unknown type")
    return f"{port.address}: {kind}, accelerator {number}, {state}, {where}"


def _describe_memory(memory: CxlMemory) -> str:
    size = memory.volatile_bytes
    capacity = "capacity unknown" if isinstance(size, Absent) else f"{gib(size)} GiB"
    known = [each for each in memory.ranges if is_known(each.node)]
    nodes = [f"node {each.node}{'' if each.is_online is True else ' (offline)'}" for each in known]
    return ", ".join([f"{memory.name}: {memory.id}", capacity, *nodes])


def _describe_edges(edges: Sequence[Edge]) -> Iterator[str]:
    """The ways, then what else payloads could take, once for all edges with the same answer."""
    alike: dict[tuple[str, tuple[Capability, ...]], list[str]] = {}
    for edge in edges:
        yield f"  {edge.host} to {edge.endpoint}: {edge.transport}, RTT {describe_rtt(edge.rtt)}"
        if edge.capabilities:
            alike.setdefault((edge.endpoint, edge.capabilities), []).append(edge.host)
    for (endpoint, capabilities), hosts in alike.items():
        yield f"  other ways from {', '.join(hosts)} to {endpoint}"
        yield from (f"    {capability.name}: {capability}" for capability in capabilities)


def describe_rtt(rtt: Rtt | Absent) -> str:
    """Its percentiles, each as far as there are enough round trips."""
    if isinstance(rtt, Absent):
        return f"unknown: {rtt.because}"
    words = [
        f"{name} {'of too few' if isinstance(value, Absent) else f'{value:.2f} ms'}"
        for name, value in percentiles(rtt).items()
    ]
    return f"{', '.join(words)}, {count(rtt.n, 'round trip')}"


def fold(lines: Iterable[str], width: int) -> Iterator[str]:
    """The lines in a terminal's width; what is continued stands deeper than its line."""
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        yield from textwrap.wrap(
            line, width, subsequent_indent=indent, break_on_hyphens=False, drop_whitespace=True
        ) or [""]
