"""Figures of UALink, CXL and RDMA."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shotclock.domain.host_figures import Family, Labels
from shotclock.placement.fabrics.cxl import CxlMemory
from shotclock.placement.fabrics.rdma import RdmaDevice
from shotclock.placement.fabrics.ualink import UALink
from shotclock.placement.figures.known import keep_known
from shotclock.placement.topology import Host
from shotclock.placement.values import Absent, is_known


def list_fabrics(host: Host | None) -> Iterator[Family]:
    """Of this host."""
    devices = [device for fabric in (host.fabrics if host else ()) for device in fabric.devices]
    yield from _list_ualink([device for device in devices if isinstance(device, UALink)])
    yield from _list_cxl([device for device in devices if isinstance(device, CxlMemory)])
    yield from _list_rdma([device for device in devices if isinstance(device, RdmaDevice)])


def _list_ualink(ports: Sequence[UALink]) -> Iterator[Family]:
    yield Family(
        "shotclock_ualink_info",
        "1 for each UALink port, with its place in the rack (vpod_id 0: in no virtual pod).",
        "gauge",
        ("address", "link_type", "accel_id", "ppod_id", "vpod_id"),
        tuple((_place(port), 1.0) for port in ports),
    )
    yield Family(
        "shotclock_ualink_accel_state",
        "1 for the state that the accelerator is in.",
        "gauge",
        ("address", "state"),
        tuple(((port.address, str(port.accel_state)), 1.0) for port in ports if is_known(port.accel_state)),
    )


def _place(port: UALink) -> Labels:
    parts = (port.link_type, port.accel_id, port.ppod_id, port.vpod_id)
    return (port.address, *("" if isinstance(part, Absent) else str(part) for part in parts))


def _list_cxl(memories: Sequence[CxlMemory]) -> Iterator[Family]:
    yield Family(
        "shotclock_cxl_memory_bytes",
        "Capacity of a CXL memory device.",
        "gauge",
        ("device", "kind"),
        keep_known(
            ((memory.id, kind), size)
            for memory in memories
            for kind, size in (("volatile", memory.volatile_bytes), ("persistent", memory.persistent_bytes))
        ),
    )
    yield Family(
        "shotclock_cxl_errors_total",
        "PCIe errors of a CXL memory device by severity.",
        "counter",
        ("device", "severity"),
        keep_known(
            ((memory.id, severity), total)
            for memory in memories
            for severity, total in (
                ("correctable", memory.correctable),
                ("nonfatal", memory.nonfatal),
                ("fatal", memory.fatal),
            )
        ),
    )


def _list_rdma(devices: Sequence[RdmaDevice]) -> Iterator[Family]:
    ports = [((device.name, str(port.number)), port) for device in devices for port in device.ports]
    yield Family(
        "shotclock_rdma_bytes_total",
        "Bytes through an RDMA port.",
        "counter",
        ("device", "port", "direction"),
        keep_known(
            ((*labels, direction), total)
            for labels, port in ports
            for direction, total in (("received", port.received_bytes), ("sent", port.sent_bytes))
        ),
    )
    yield Family(
        "shotclock_rdma_errors_total",
        "Errors, losses and repetitions of an RDMA port, by the driver's own names.",
        "counter",
        ("device", "port", "counter"),
        tuple(
            ((*labels, name), float(total)) for labels, port in ports for name, total in port.errors.items()
        ),
    )
