"""Bursts of errors on the ways that data takes through a host: HBM, PCIe, CXL and RDMA.

Counters that rise slowly are normal: links repeat packets. A burst degrades its path until a quiet period has
passed, and callers prefer other hosts. Counters that begin again at 0 (a driver was reloaded) go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from shotclock.domain.host_figures import Family
from shotclock.placement.fabrics.cxl import CxlMemory
from shotclock.placement.fabrics.rdma import RdmaDevice
from shotclock.placement.figures.totals import Totals
from shotclock.placement.topology import FabricDevice, Host
from shotclock.placement.values import Absent, or_else


@dataclass(frozen=True, slots=True)
class BurstRules:
    """What a burst is.

    errors: as many of one counter within the window; of errors that lost data, one is a burst.
    window_s: how long they may take, seconds.
    quiet_s: how long a path stays degraded after its last burst, seconds.
    """

    errors: int
    window_s: float
    quiet_s: float


@dataclass(frozen=True, slots=True, order=True)
class DataPath:
    """transport: HBM, PCIe, CXL or RDMA; device: the driver's name, or the PCI address."""

    transport: str
    device: str

    def __str__(self) -> str:
        return f"{self.transport} {self.device}"


@dataclass(frozen=True, slots=True)
class ErrorCounter:
    """A counter of one path. loses_data: whether what it counts was not repaired."""

    path: DataPath
    name: str
    loses_data: bool


@dataclass(frozen=True, slots=True)
class Burst:
    """The last burst of a path: this many errors of one counter, at an instant in seconds."""

    counter: str
    errors: int
    at_s: float


@dataclass(slots=True)
class _Course:
    """Totals of one counter at instants: those of the window, and the last one before it."""

    samples: deque[tuple[float, float]] = field(default_factory=deque)

    def add(self, now_s: float, total: float, window_s: float) -> float:
        """Adds a sample; returns the increase over the window."""
        self.samples.append((now_s, total))
        while len(self.samples) > 1 and self.samples[1][0] <= now_s - window_s:
            self.samples.popleft()
        return total - self.samples[0][1]


class BurstWatch:
    """`observe` each reading of a host, in one thread; `families` from any."""

    def __init__(self, rules: BurstRules) -> None:
        self._rules = rules
        self._totals = Totals()
        self._courses: dict[ErrorCounter, _Course] = {}
        self._bursts: dict[DataPath, Burst] = {}
        self._degraded: dict[DataPath, bool] = {}

    def observe(self, host: Host, now_s: float) -> tuple[str, ...]:
        """Why each path is degraded now, one line each.

        The first reading of a counter is where it starts: earlier errors are not counted.
        """
        paths = set(self._degraded)
        for counter, raw in list_counters(host):
            total = self._totals.advance(counter.name, (counter.path.transport, counter.path.device), raw)
            course = self._courses.setdefault(counter, _Course())
            increase = round(course.add(now_s, total, self._rules.window_s))
            if increase >= (1 if counter.loses_data else self._rules.errors):
                self._bursts[counter.path] = Burst(counter.name, increase, now_s)
            paths.add(counter.path)
        quiet_since_s = now_s - self._rules.quiet_s
        self._bursts = {path: burst for path, burst in self._bursts.items() if burst.at_s > quiet_since_s}
        self._degraded = {path: path in self._bursts for path in sorted(paths)}
        return tuple(self._explain(path, self._bursts[path]) for path in sorted(self._bursts))

    def families(self) -> tuple[Family, ...]:
        """Every path that has counters, and whether it is degraded."""
        samples = tuple(
            ((path.transport, path.device), float(is_degraded))
            for path, is_degraded in self._degraded.items()
        )
        help_text = "1 while a burst of errors degrades this way of data through the host, 0 otherwise."
        return (Family("shotclock_path_degraded", help_text, "gauge", ("transport", "device"), samples),)

    def _explain(self, path: DataPath, burst: Burst) -> str:
        return f"{path}: {burst.errors:,} × {burst.counter} within {self._rules.window_s:g} s"


def list_counters(host: Host) -> Iterator[tuple[ErrorCounter, int]]:
    """The counters that are known, with what they say now."""
    for device in host.devices:
        for error in or_else(device.ecc, ()):
            if error.severity == "uncorrectable":
                path = DataPath("HBM", device.address)
                yield ErrorCounter(path, f"uncorrectable errors in {error.block}", True), error.count
        if not isinstance(device.pcie_replays, Absent):
            yield ErrorCounter(DataPath("PCIe", device.address), "replays", False), device.pcie_replays
    for fabric in host.fabrics:
        for member in fabric.devices:
            yield from _list_of_fabric(member)


def _list_of_fabric(device: FabricDevice) -> Iterator[tuple[ErrorCounter, int]]:
    match device:
        case CxlMemory():
            path = DataPath("CXL", device.id)
            for severity, total in (
                ("correctable", device.correctable),
                ("nonfatal", device.nonfatal),
                ("fatal", device.fatal),
            ):
                if not isinstance(total, Absent):
                    yield ErrorCounter(path, f"{severity} errors", severity != "correctable"), total
        case RdmaDevice():
            for port in device.ports:
                path = DataPath("RDMA", f"{device.name} port {port.number}")
                for name, total in port.errors.items():
                    yield ErrorCounter(path, name, False), total
        case _:
            return
