"""What is read around each call: few files, so that a reading takes milliseconds.

amdsmi is not asked, because that starts a process. An NVIDIA device's memory is not read, because that makes
a CUDA context on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from shotclock.domain.host_figures import AcceleratorFacts, HostReading, Labels
from shotclock.domain.plural import count
from shotclock.placement.accelerators import amdgpu
from shotclock.placement.accelerators.discover import read_accelerators
from shotclock.placement.accelerators.pci import list_functions
from shotclock.placement.accelerators.record import Accelerator, Device
from shotclock.placement.accelerators.visible import select_visible
from shotclock.placement.fabrics import cxl, rdma
from shotclock.placement.figures.gpu import identify
from shotclock.placement.figures.totals import Totals
from shotclock.placement.topology import NO_ACCELERATOR
from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent, or_else

Counts = Iterator[tuple[str, Labels, int]]


class CallReader:
    """Reads the accelerators of this process, and the host's RDMA and CXL devices. For one thread at a time.

    environ: holds the visibility masks.
    """

    def __init__(self, tree: Tree, environ: Mapping[str, str]) -> None:
        tree.begin_pass()
        self._tree = tree
        self._totals = Totals()
        present = read_accelerators(tree)
        accelerators = select_visible(present, environ)
        self.accelerators = tuple(_describe(each) for each in accelerators)
        self.because = _explain(len(present), len(accelerators))
        addresses = {each.device.address for each in accelerators}
        functions = [each for each in list_functions(tree) if each.address in addresses]
        self._functions = [each for each in functions if each.vendor == "AMD"]
        self._reads_all = len(self._functions) == len(functions)
        self._has_rdma = bool(rdma.read_devices(tree))
        self._has_cxl = bool(cxl.read_memories(tree))

    @property
    def has_figures(self) -> bool:
        """Whether a reading can hold anything."""
        return bool(self._functions) or self._has_rdma or self._has_cxl

    def read(self) -> HostReading:
        """The present figures."""
        self._tree.begin_pass()
        devices = [amdgpu.read_changing(self._tree, function) for function in self._functions]
        ratio, method = _average_bandwidth(devices)
        counts = [*_count_gpu(devices), *self._count_fabrics()]
        return HostReading(
            _add_used(devices) if self._reads_all else None,
            ratio,
            method,
            {(name, labels): self._totals.advance(name, labels, raw) for name, labels, raw in counts},
        )

    def _count_fabrics(self) -> Counts:
        for device in rdma.read_devices(self._tree) if self._has_rdma else ():
            for port in device.ports:
                labels = (device.name, str(port.number))
                for direction, total in (("received", port.received_bytes), ("sent", port.sent_bytes)):
                    if not isinstance(total, Absent):
                        yield "rdma_bytes", (*labels, direction), total
                for name, errors in port.errors.items():
                    yield "rdma_errors", (*labels, name), errors
        for memory in cxl.read_memories(self._tree) if self._has_cxl else ():
            errors_by_severity = (memory.correctable, memory.nonfatal, memory.fatal)
            for severity, total in zip(("correctable", "nonfatal", "fatal"), errors_by_severity, strict=True):
                if not isinstance(total, Absent):
                    yield "cxl_errors", (memory.id, severity), total


def _describe(accelerator: Accelerator) -> AcceleratorFacts:
    total = accelerator.memory_total_bytes
    name = or_else(accelerator.device.name, "")
    return AcceleratorFacts(accelerator.id, name, None if isinstance(total, Absent) else total)


def _explain(present: int, visible: int) -> str:
    if not present:
        return NO_ACCELERATOR
    if not visible:
        return f"the masks of visible devices leave this process none of {count(present, 'accelerator')}"
    return f"{visible} of {count(present, 'accelerator')} of this host"


def _count_gpu(devices: Sequence[Device]) -> Counts:
    for device in devices:
        for error in or_else(device.ecc, ()):
            yield "ecc_errors", (identify(device), error.block, error.severity), error.count
        if not isinstance(device.pcie_replays, Absent):
            yield "pcie_replays", (identify(device),), device.pcie_replays


def _add_used(devices: Sequence[Device]) -> int | None:
    """A sum without one of them would be too low."""
    used_bytes = [each.memory_used_bytes for each in devices]
    known = [each for each in used_bytes if not isinstance(each, Absent)]
    return sum(known) if known and len(known) == len(used_bytes) else None


def _average_bandwidth(devices: Sequence[Device]) -> tuple[float | None, str]:
    ratios = [each.memory_bandwidth_ratio for each in devices]
    known = [each for each in ratios if not isinstance(each, Absent)]
    if not known or len(known) < len(ratios):
        return None, ""
    return sum(known) / len(known), str(or_else(devices[0].memory_bandwidth_method, ""))
