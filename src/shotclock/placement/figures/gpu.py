"""Figures of accelerators and of XGMI, by device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shotclock.domain.host_figures import Family, Labels
from shotclock.placement.accelerators.record import Device
from shotclock.placement.figures.known import keep_known
from shotclock.placement.topology import Host
from shotclock.placement.values import Absent, or_else


def identify(device: Device) -> str:
    """The label `gpu`: the UUID, else the PCI address."""
    return or_else(device.uuid, f"pci:{device.address}")


INFO_LABELS = ("gpu", "address", "vendor", "name", "numa_node", "compute_partition", "memory_partition")
GAUGES = {
    "memory_total_bytes": "shotclock_gpu_memory_total_bytes",
    "memory_used_bytes": "shotclock_gpu_memory_used_bytes",
    "memory_busy_ratio": "shotclock_gpu_memory_busy_ratio",
    "retired_pages": "shotclock_gpu_retired_pages",
}
HELP = {
    "memory_total_bytes": "HBM of a device.",
    "memory_used_bytes": "HBM in use.",
    "memory_busy_ratio": "Share of time in which the memory controllers were busy.",
    "retired_pages": "Pages of HBM that were taken out of use.",
}


def list_gpu(devices: Sequence[Device]) -> Iterator[Family]:
    """Of these devices."""
    info = [(_label_info(device), 1.0) for device in devices]
    yield Family("shotclock_gpu_info", "1 for each device.", "gauge", INFO_LABELS, tuple(info))
    for attribute, name in GAUGES.items():
        samples = [((identify(each),), getattr(each, attribute)) for each in devices]
        yield Family(name, HELP[attribute], "gauge", ("gpu",), keep_known(samples))
    yield Family(
        "shotclock_gpu_memory_bandwidth_ratio",
        "Share of HBM's bandwidth in use, and how it was found.",
        "gauge",
        ("gpu", "method"),
        keep_known(
            ((identify(each), or_else(each.memory_bandwidth_method, "")), each.memory_bandwidth_ratio)
            for each in devices
        ),
    )
    yield Family(
        "shotclock_gpu_ecc_errors_total",
        "Memory errors by block and severity.",
        "counter",
        ("gpu", "block", "severity"),
        tuple(
            ((identify(each), error.block, error.severity), error.count)
            for each in devices
            for error in or_else(each.ecc, ())
        ),
    )
    yield Family(
        "shotclock_pcie_replays_total",
        "Packets sent again over PCIe.",
        "counter",
        ("gpu",),
        keep_known(((identify(each),), each.pcie_replays) for each in devices),
    )


def _label_info(device: Device) -> Labels:
    texts = (device.name, device.numa_node, device.compute_partition, device.memory_partition)
    return (identify(device), device.address, device.vendor, *(str(or_else(text, "")) for text in texts))


def list_xgmi(host: Host | None) -> Iterator[Family]:
    """By pairs of devices: eight partitions of each of eight devices would be 4,032 pairs."""
    up: dict[Labels, float] = {}
    moved: dict[Labels, float] = {}
    for each in host.accelerators if host else ():
        gpu = identify(each.device)
        for link in or_else(each.links, ()):
            to = link.to.partition("/")[0]
            if to == each.device.address:
                continue
            if not isinstance(link.is_up, Absent):
                up[gpu, to] = min(up.get((gpu, to), 1.0), float(link.is_up))
            for direction, count in (("read", link.read_bytes), ("written", link.written_bytes)):
                if not isinstance(count, Absent):
                    moved[gpu, to, direction] = max(moved.get((gpu, to, direction), 0.0), float(count))
    yield Family(
        "shotclock_xgmi_link_up",
        "1 if every XGMI link between two devices is enabled.",
        "gauge",
        ("gpu", "to"),
        tuple(up.items()),
    )
    yield Family(
        "shotclock_xgmi_bytes_total",
        "Bytes through an XGMI link, by direction.",
        "counter",
        ("gpu", "to", "direction"),
        tuple(moved.items()),
    )
