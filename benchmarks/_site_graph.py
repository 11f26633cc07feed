"""A site of 100 racks as the graph of `shotclock topology`: its size, and what a rack's documents cost."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shotclock.placement.accelerators.record import Accelerator
    from shotclock.placement.graph import Topology
    from shotclock.placement.topology import HostView

ACCELERATORS, RACKS, PER_HOST = 72, 100, 4
GIB = 2**30
TIMES = 5


@dataclass(frozen=True, slots=True)
class SiteGraph:
    """What was measured.

    mib: the graph of all racks, its problems and roots too
    build_s: from the hosts' views to that graph
    report_kib: one host's report on the wire
    report_ms: to write and to read it, the median
    json_ms: the document of one rack, the median
    svg_ms: the picture of one rack, the median
    """

    mib: float
    build_s: float
    report_kib: float
    report_ms: float
    json_ms: float
    svg_ms: float

    def figures(self) -> dict[str, float]:
        """Metric → number."""
        return {
            "topology_mib_7200": self.mib,
            "topology_build_s_7200": self.build_s,
            "host_report_kib": self.report_kib,
            "host_report_ms": self.report_ms,
            "rack_json_ms": self.json_ms,
            "rack_svg_ms": self.svg_ms,
        }

    def sentence(self) -> str:
        """For docs/benchmarks.md."""
        hosts = ACCELERATORS * RACKS // PER_HOST
        return (
            f"The topology of {ACCELERATORS} accelerators × {RACKS} racks, {hosts:,} hosts: {self.mib:.0f} "
            f"MiB, put together in {self.build_s:.2f} s. A host's "
            f"report is {self.report_kib:.0f} KiB, written and read in {self.report_ms:.1f} ms; the JSON of "
            f"a rack takes {self.json_ms:.0f} ms, its picture {self.svg_ms:.0f} ms."
        )


def measure_site() -> SiteGraph:
    """Hosts of four accelerators, each in its rack's virtual pod, with XGMI, UALink, RDMA and PCIe."""
    from shotclock.app.topology import View  # noqa: PLC0415
    from shotclock.app.topology_document import make_document  # noqa: PLC0415
    from shotclock.app.topology_picture import draw  # noqa: PLC0415
    from shotclock.placement.report import read_report, write_report  # noqa: PLC0415

    tracemalloc.start()
    views = [_make_view(rack, tray) for rack in range(RACKS) for tray in range(ACCELERATORS // PER_HOST)]
    site = _join(views)
    mib = tracemalloc.get_traced_memory()[0] / 2**20
    tracemalloc.stop()
    began = time.perf_counter()
    _join(views)
    build_s = time.perf_counter() - began
    assert sum(len(each.host.accelerators) for each in site.hosts) == ACCELERATORS * RACKS
    assert len(site.roots) == RACKS
    assert not site.problems
    rack = _join(views[: ACCELERATORS // PER_HOST])
    report = write_report(views[0])
    return SiteGraph(
        mib,
        build_s,
        len(report) / 1024,
        _median_ms(lambda: read_report(write_report(views[0]))),
        _median_ms(lambda: json.dumps(make_document(View(rack)))),
        _median_ms(lambda: draw(rack)),
    )


def _median_ms(work: Callable[[], object]) -> float:
    took_ms = []
    for _ in range(TIMES):
        began = time.perf_counter()
        work()
        took_ms.append(1e3 * (time.perf_counter() - began))
    return sorted(took_ms)[TIMES // 2]


def _join(views: Sequence[HostView]) -> Topology:
    from shotclock.domain.hosts import Endpoint, HostState, Rtt  # noqa: PLC0415
    from shotclock.placement.capabilities import list_capabilities  # noqa: PLC0415
    from shotclock.placement.graph import QPU, Edge, ReportedHost, build_graph  # noqa: PLC0415
    from shotclock.placement.labels import list_domains  # noqa: PLC0415

    endpoint = Endpoint("qpu.site:443", emulated=False)
    hosts, edges = [], []
    for number, view in enumerate(views):
        name, rtt = view.host.name, Rtt(0.2 + 1e-3 * number, 0.4 + 1e-3 * number, 200, 1.0)
        state = HostState(name, list_domains(view.host), {endpoint.name: rtt, QPU: rtt}, number * GIB, 0.5)
        hosts.append(ReportedHost(view.host, view.problems, f"{name}:7443", state, 3.0))
        ways = list_capabilities(is_same_host=False, has_accelerator=True)
        edges.append(Edge(name, endpoint.name, "TCP handshake", rtt, ways))
    return build_graph(hosts, {each.host.name: endpoint for each in hosts}, edges)


def _make_view(rack: int, tray: int) -> HostView:
    """A host as its readers would make it: no string or number is shared with another host."""
    from shotclock.placement.components import Component  # noqa: PLC0415
    from shotclock.placement.fabrics.pcie import PcieLink  # noqa: PLC0415
    from shotclock.placement.fabrics.rdma import RdmaDevice, RdmaPort  # noqa: PLC0415
    from shotclock.placement.fabrics.ualink import UALink  # noqa: PLC0415
    from shotclock.placement.fabrics.xgmi import group  # noqa: PLC0415
    from shotclock.placement.rack import Rack  # noqa: PLC0415
    from shotclock.placement.topology import Fabric, Host, HostView  # noqa: PLC0415
    from shotclock.placement.values import Absent  # noqa: PLC0415

    devices = [_make_accelerator(rack, tray, number) for number in range(PER_HOST)]
    addresses = [each.device.address for each in devices]
    pod, first = f"pod-{rack:04}", PER_HOST * tray
    reason = Absent("is not reported")
    ports = [
        UALink(address, "UALoE", first + number, "active", 2e11, 100, pod, 72, 1, 72, (), (), reason)
        for number, address in enumerate(addresses)
    ]
    errors = {f"counter_{number}": number for number in range(12)}
    nics = [
        RdmaDevice(
            f"ionic_{number}",
            f"0000:{number:02x}:01.0",
            "ionic",
            "1.117",
            0,
            reason,
            reason,
            4 * 10**11,
            (RdmaPort(1, "ACTIVE", "400 Gb/sec", "Ethernet", number << 40, number << 40, dict(errors)),),
        )
        for number in range(2 * PER_HOST)
    ]
    links = [PcieLink(address, 16, 16, "64.0 GT/s PCIe", 0, 0, 0) for address in addresses]
    fabrics = (
        Fabric("xgmi", group(devices), True, "4 accelerators in 1 hive"),
        Fabric("ualink", tuple(ports), True, "4 of 4 ports active"),
        Fabric("cxl", (), False, "this host has no CXL memory device"),
        Fabric("rdma", tuple(nics), True, "8 of 8 ports up"),
        Fabric("pcie", tuple(links), True, "4 accelerators on the PCI bus"),
    )
    components = [
        Component(f"firmware-{number}", addresses[number % 4], f"1.{rack}.{number}") for number in range(24)
    ]
    host = Host(
        f"rack-{rack:03}-tray-{tray:02}",
        "6.14.0",
        tuple(devices),
        "from sysfs",
        fabrics,
        tuple(components),
        Rack(pod, "ppod_id"),
    )
    return HostView(host, ())


def _make_accelerator(rack: int, tray: int, number: int) -> Accelerator:
    from shotclock.placement.accelerators.record import Accelerator, Device, ErrorCount, Link  # noqa: PLC0415

    uuid = f"GPU-{rack:04x}{tray:04x}{number:08x}"
    others = [other for other in range(PER_HOST) if other != number]
    device = Device(
        address=f"0000:{5 + 32 * number:02x}:00.0",
        vendor="AMD",
        name=f"AMD Instinct MI455X {number}",
        uuid=uuid,
        memory_total_bytes=432 * GIB,
        memory_used_bytes=(17 * rack + tray) * GIB // 64,
        memory_busy_ratio=0.01 * tray,
        ecc=tuple(ErrorCount(block, "correctable", rack) for block in ("umc", "gfx", "sdma", "mmhub")),
        firmware={f"block-{each}": f"{rack}.{tray}.{each}" for each in range(12)},
    )
    links = tuple(Link(f"0000:{5 + 32 * other:02x}:00.0", True, rack << 40, tray << 40) for other in others)
    hive = f"{rack:08x}{tray:08x}"
    return Accelerator(uuid, 0, 432 * GIB, device.memory_used_bytes, hive, links, device)
