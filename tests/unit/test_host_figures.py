"""A host's figures as metrics: what each machine exports, counters that only grow, and stale samples."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from shotclock.app.host_figures import start_sampler
from shotclock.app.host_report import HostReport
from shotclock.domain.host_figures import Family
from shotclock.domain.hosts import Endpoint, HostState
from shotclock.domain.status import BreakerState, Phase, Status
from shotclock.placement.components import Component
from shotclock.placement.error_bursts import BurstRules, BurstWatch
from shotclock.placement.figures.families import VersionChanges
from shotclock.placement.figures.sampler import Sampler
from shotclock.placement.figures.totals import Totals
from shotclock.placement.topology import HostView, read_host
from shotclock.placement.tree import Tree
from shotclock.settings import PlacementSettings, Settings
from shotclock.telemetry.host_figures import HostFigures
from topology_trees import build

GROUPS = ("gpu", "fabric", "components")
GPU = "GPU-2251a0b0c0d0e000"


class Reader:
    """The host of a tree, read again at each sample; a clock that the test moves."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = 0.0
        self.changes = VersionChanges({})
        self.sampler = Sampler(self.read, 15.0, GROUPS, self.changes, lambda: self.now)
        self.registry = CollectorRegistry()
        self.registry.register(HostFigures(self.sampler.families))

    def read(self) -> HostView:
        return read_host(Tree(self.root))

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


def sample(root: Path) -> Reader:
    reader = Reader(root)
    reader.sampler.sample()
    return reader


def names(families: tuple[Family, ...]) -> Iterator[str]:
    return (family.name for family in families)


def test_accelerators_are_exported_by_their_uuid(shared_machine: Callable[[str], Path]) -> None:
    value = sample(shared_machine("mi300x-spx")).value
    assert value("shotclock_gpu_memory_total_bytes", gpu=GPU) == 206_141_652_992
    assert value("shotclock_gpu_memory_used_bytes", gpu=GPU) == 10_737_418_240
    assert value("shotclock_gpu_memory_busy_ratio", gpu=GPU) == 0.37
    assert value("shotclock_gpu_memory_bandwidth_ratio", gpu=GPU, method="estimate") == 0.37
    assert value("shotclock_gpu_ecc_errors_total", gpu=GPU, block="umc", severity="correctable") == 5
    assert value("shotclock_gpu_ecc_errors_total", gpu=GPU, block="umc", severity="uncorrectable") == 0
    assert value("shotclock_gpu_retired_pages", gpu=GPU) == 1
    assert value("shotclock_pcie_replays_total", gpu=GPU) == 3
    assert value("shotclock_xgmi_link_up", gpu=GPU, to="0000:26:00.0") == 1
    assert value("shotclock_xgmi_bytes_total", gpu=GPU, to="0000:26:00.0", direction="read") is None
    assert value(
        "shotclock_component_info", component="amdgpu.smc", instance="0000:05:00.0", version="0x00556000"
    )


def test_partitions_share_their_device_s_series(shared_machine: Callable[[str], Path]) -> None:
    reader = sample(shared_machine("mi300x-cpx"))
    links = next(family for family in reader.sampler.families() if family.name == "shotclock_xgmi_link_up")
    assert len(links.samples) == 2
    assert reader.value("shotclock_gpu_memory_total_bytes", gpu=GPU) == 206_141_652_992


def test_fabrics_are_exported(shared_machine: Callable[[str], Path]) -> None:
    value = sample(shared_machine("rdma")).value
    mlx5 = {"device": "mlx5_0", "port": "1"}
    assert value("shotclock_rdma_bytes_total", **mlx5, direction="received") == 4_000
    assert value("shotclock_rdma_errors_total", **mlx5, counter="symbol_error") == 2
    assert value("shotclock_rdma_bytes_total", device="rxe0", port="1", direction="received") is None
    value = sample(shared_machine("cxl")).value
    assert value("shotclock_cxl_memory_bytes", device="serial:0xc0ffee", kind="volatile") == 536_870_912
    assert value("shotclock_cxl_errors_total", device="serial:0xc0ffee", severity="correctable") == 4
    value = sample(shared_machine("ualink")).value
    assert value("shotclock_ualink_accel_state", address="0000:05:00.0", state="active") == 1
    assert value("shotclock_ualink_accel_state", address="0000:a5:00.0", state="active") is None
    place = {"accel_id": "8", "vpod_id": "2", "ppod_id": "01020304-0506-0708-090a-0b0c0d0e0f10"}
    assert value("shotclock_ualink_info", address="0000:05:00.0", link_type="UALoE", **place) == 1


def test_a_counter_goes_on_across_a_driver_s_reload(tmp_path: Path) -> None:
    reader = sample(build("rdma", tmp_path))
    file = tmp_path / "sys/class/infiniband/mlx5_0/ports/1/counters/symbol_error"
    totals = []
    for raw in ("10", "N/A", "0", "2", "2", "1"):
        file.write_text(f"{raw}\n")
        reader.sampler.sample()
        labels = {"device": "mlx5_0", "port": "1", "counter": "symbol_error"}
        totals.append(reader.value("shotclock_rdma_errors_total", **labels))
    assert totals == [10, None, 10, 12, 12, 13]


def test_a_burst_degrades_its_path_until_it_is_quiet_and_a_reload_is_not_one(tmp_path: Path) -> None:
    root = build("rdma", tmp_path)
    counter = root / "sys/class/infiniband/mlx5_0/ports/1/counters/symbol_error"
    watch = BurstWatch(BurstRules(errors=100, window_s=60.0, quiet_s=90.0))
    registry = CollectorRegistry()
    registry.register(HostFigures(watch.families))

    def observe(now_s: float, raw: str) -> list[str]:
        counter.write_text(f"{raw}\n")
        texts = watch.observe(read_host(Tree(root)).host, now_s)
        labels = {"transport": "RDMA", "device": "mlx5_0 port 1"}
        assert registry.get_sample_value("shotclock_path_degraded", labels) == len(texts)
        return list(texts)

    assert observe(0.0, "5000") == []  # from before the start
    assert observe(30.0, "5099") == []
    assert observe(100.0, "5150") == []  # 51 in the window
    assert observe(110.0, "N/A") == []
    assert observe(115.0, "40") == []  # the driver was reloaded: 40 since then
    assert observe(120.0, "60") == ["RDMA mlx5_0 port 1: 111 × symbol_error within 60 s"]
    assert len(observe(150.0, "70")) == 1
    assert len(observe(200.0, "70")) == 1
    assert observe(240.0, "80") == []


@pytest.mark.parametrize(
    ("machine", "file", "text", "path"),
    [
        ("mi300x-spx", "0000:05:00.0/ras/umc_err_count", "ue: 1\nce: 5\nde: 1", "HBM 0000:05:00.0"),
        ("mi300x-spx", "0000:05:00.0/pcie_replay_count", "103", "PCIe 0000:05:00.0"),
        ("cxl", "0000:35:00.0/aer_dev_nonfatal", "RxErr 1\nTOTAL_ERR_NONFATAL 1", "CXL serial:0xc0ffee"),
        ("cxl", "0000:35:00.0/aer_dev_correctable", "RxErr 104\nTOTAL_ERR_COR 104", "CXL serial:0xc0ffee"),
    ],
)
def test_every_transport_has_its_counters_and_one_error_that_lost_data_is_a_burst(
    machine: str, file: str, text: str, path: str, tmp_path: Path
) -> None:
    root = build(machine, tmp_path)
    watch = BurstWatch(BurstRules(errors=100, window_s=60.0, quiet_s=90.0))
    assert watch.observe(read_host(Tree(root)).host, 0.0) == ()
    (root / "sys/bus/pci/devices" / file).write_text(f"{text}\n")
    (text,) = watch.observe(read_host(Tree(root)).host, 15.0)
    assert text.startswith(f"{path}: ")


def test_a_total_never_falls() -> None:
    totals = Totals()
    exported = [totals.advance("x", (), raw) for raw in (5.0, 7.0, 7.0, 3.0, 3.0, 0.0, 4.0)]
    assert exported == [5, 7, 7, 10, 10, 10, 14]


def test_changes_of_versions_are_counted_against_those_acknowledged_and_from_then_on() -> None:
    changes = VersionChanges({"amdgpu": "1"})
    for version in ("2", "2", "3"):
        changes.observe([Component("amdgpu", "", version), Component("ifoe", "", "1")])
    assert changes.counts == {("amdgpu", ""): 2, ("ifoe", ""): 0}


def test_before_the_first_sample_and_once_it_is_stale_there_is_nothing_but_its_age(
    shared_machine: Callable[[str], Path],
) -> None:
    reader = Reader(shared_machine("mi300x-cpx"))
    assert not [family for family in reader.sampler.families() if family.samples]
    reader.sampler.sample()
    reader.now = 45.0
    assert reader.value("shotclock_gpu_retired_pages", gpu=GPU) == 1
    reader.now = 46.0
    assert reader.value("shotclock_gpu_retired_pages", gpu=GPU) is None
    assert reader.value("shotclock_topology_age_seconds") == 46
    assert len(set(names(reader.sampler.families()))) == len(reader.sampler.families()) == 19


def test_a_scrape_does_not_wait_for_a_reading(tmp_path: Path) -> None:
    root = build("rdma", tmp_path)
    entered, release = threading.Event(), threading.Event()

    def read_slowly() -> HostView:
        entered.set()
        release.wait(60)
        return read_host(Tree(root))

    sampler = Sampler(read_slowly, 1.0, GROUPS, VersionChanges({}))
    registry = CollectorRegistry()
    registry.register(HostFigures(sampler.families))
    sampler.start()
    try:
        assert entered.wait(60)
        assert b"shotclock_rdma_bytes_total{" not in generate_latest(registry)
    finally:
        sampler.close()
        release.set()


def test_one_sampler_feeds_the_placement_report_and_the_groups_of_the_settings(
    shared_machine: Callable[[str], Path], tmp_path: Path
) -> None:
    root = shared_machine("ualink")
    record = str(tmp_path / "components.json")
    for groups in ((), ("fabric",)):
        registry = CollectorRegistry()
        views: list[HostView] = []
        observed = threading.Event()

        def observe(
            view: HostView, views: list[HostView] = views, observed: threading.Event = observed
        ) -> None:
            views.append(view)
            observed.set()

        placement = PlacementSettings(acknowledged=record, metrics=groups)
        stop = start_sampler(Settings(placement=placement), registry, observe, root)
        assert observed.wait(60)
        asyncio.run(stop())
        assert len(views) == 1
        exported = {family.name for family in registry.collect()}
        assert bool(exported) is bool(groups)
        assert ("shotclock_ualink_info" in exported) is bool(groups)
        assert not [name for name in exported if "gpu" in name or "component" in name]

        report = HostReport(Settings(), read_idle_status, lambda: (), lambda: ())
        report.observe(views[0])
        state, _ = asyncio.run(read_report(report))
        assert state.fabrics == {"ualink 01020304-0506-0708-090a-0b0c0d0e0f10.2"}
        free = 463_856_467_968 - 10_737_418_240
        assert state.free_memory_bytes == 4 * free - sum(range(4))


def read_idle_status() -> Status:
    return Status(Phase.READY, "emulated", True, BreakerState.CLOSED, 0, 0, 1, 0.1, 0, 0)


async def read_report(report: HostReport) -> tuple[HostState, Endpoint]:
    return report.read()


@pytest.mark.parametrize("machine", ["cpu", "cxl-old"])
def test_a_host_without_accelerators_has_no_series_of_them(
    shared_machine: Callable[[str], Path], machine: str
) -> None:
    families = sample(shared_machine(machine)).sampler.families()
    assert not [family.name for family in families if "gpu" in family.name and family.samples]
