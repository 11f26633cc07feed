"""Figures of a host, from whoever reads them to whoever exports or records them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """A metric with its samples.

    name: as Prometheus has it; a counter's ends in _total
    help: one sentence
    kind: a counter only grows, also across a driver's reload
    labels: their names
    samples: values by the labels' values; what is not known has no sample
    """

    name: str
    help: str
    kind: Literal["counter", "gauge"]
    labels: Labels
    samples: tuple[tuple[Labels, float], ...] = ()


@dataclass(frozen=True, slots=True)
class HostReading:
    """What a process's accelerators and the host's fabrics show at one instant; None is unknown, never 0.

    hbm_used_bytes: of all accelerators of the process
    hbm_bandwidth_ratio: share of HBM's bandwidth in use, mean over them
    hbm_bandwidth_method: how that was found; "" where it was not
    counts: counters that only grow, also across a driver's reload, by kind and labels
    """

    hbm_used_bytes: int | None = None
    hbm_bandwidth_ratio: float | None = None
    hbm_bandwidth_method: str = ""
    counts: Mapping[tuple[str, Labels], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AroundCall:
    """What accelerators and fabrics did around one call; None is unknown, never 0.

    hbm_used_before_bytes: HBM in use as the call began, of the accelerators of the process.
    hbm_used_after_bytes: the same as its answer arrived.
    hbm_used_peak_bytes: the highest of the readings from one to the other.
    hbm_bandwidth_ratio: share of HBM's bandwidth in use, mean of these readings.
    hbm_bandwidth_method: how that was found, estimate (from the busy share); "" where it was not.
    ecc_errors: memory errors of every severity that were counted in between.
    pcie_replays: packets that the accelerators sent again over PCIe in between.
    rdma_bytes: bytes through the host's RDMA ports in between, both directions.
    rdma_errors: their errors, losses and repetitions in between.
    cxl_errors: PCIe errors of its CXL memory in between.
    """

    hbm_used_before_bytes: int | None = None
    hbm_used_after_bytes: int | None = None
    hbm_used_peak_bytes: int | None = None
    hbm_bandwidth_ratio: float | None = None
    hbm_bandwidth_method: str = ""
    ecc_errors: int | None = None
    pcie_replays: int | None = None
    rdma_bytes: int | None = None
    rdma_errors: int | None = None
    cxl_errors: int | None = None


COUNTERS = ("ecc_errors", "pcie_replays", "rdma_bytes", "rdma_errors", "cxl_errors")
"""The kinds of `HostReading.counts`, which are `AroundCall`'s increases."""
NOT_READ = AroundCall()


@dataclass(frozen=True, slots=True)
class AcceleratorFacts:
    """An accelerator that a process can use.

    id: its UUID, with the partition where the device has several
    name: the product; "" if it is not reported
    hbm_total_bytes: what it can allocate; None if it is not known
    """

    id: str
    name: str
    hbm_total_bytes: int | None
