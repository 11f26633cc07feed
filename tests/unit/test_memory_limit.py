"""Memory as a limit: the blocking point by hand, what a host tells, and what a due call does there."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from scripted_answers import FakeCaller, StepClock
from shotclock.app.memory_watch import MIB, MemoryWatch
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.memory import (
    HBM,
    NO_LIMIT,
    PINNED,
    RAM,
    UNLIMITED,
    BlockingPoint,
    CallSize,
    MemoryLimit,
    OnFull,
    find_blocking_point,
)
from shotclock.domain.outcome import MEMORY
from shotclock.orchestrator.admission import refuse_by_memory
from shotclock.placement.memory import find_allowed, read_available
from shotclock.placement.tree import Tree
from shotclock.settings import PlacementSettings, QuantumSettings, Settings
from shotclock.training.aggregator import Aggregator
from shotclock.training.loops.digits_mlp import build_rounded
from shotclock.training.scheduler import CallPolicy, Scheduler
from topology_trees import Builder, build, build_amd_pair

SIZE = CallSize.of(12, 256)


def write_memory(root: Path, available_kb: int, limit: object = "max", current: int = 0) -> None:
    tree = Builder(root)
    tree.write("proc/meminfo", f"MemTotal:       65536000 kB\nMemAvailable:   {available_kb} kB")
    tree.write_all("sys/fs/cgroup", {"memory.max": limit, "memory.current": current})


def test_the_blocking_point_by_hand() -> None:
    coefficients = 8 * (12 * 12 + 12)
    assert SIZE.needs == {
        HBM: coefficients + 256 * 12 * 8,
        PINNED: coefficients,
        RAM: coefficients + 256 * (12 + 8),
    }
    # 25,824 and 6,368 bytes a call
    assert find_blocking_point(SIZE, {HBM: 258_240, RAM: 10**9}) == BlockingPoint(
        10, 2_560, HBM, 258_240, 25_824
    )
    assert find_blocking_point(SIZE, {HBM: 10**9, RAM: 6_367}) == BlockingPoint(0, 0, RAM, 6_367, 6_368)
    assert find_blocking_point(SIZE, {}) is None
    assert NO_LIMIT.calls == UNLIMITED


def test_what_a_host_tells(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    assert find_allowed(tree, (), 0.5, 64 * MIB) == {}
    write_memory(tmp_path, 4_000)
    assert read_available(tree) == 4_096_000
    write_memory(tmp_path, 4_000, limit=3_000_000, current=1_000_000)
    assert find_allowed(tree, (), 0.5, 64 * MIB) == {RAM: 1_000_000}
    write_memory(tmp_path, 4_000, limit=3_000_000, current=3_500_000)
    assert read_available(tree) == 0


def test_the_accelerator_with_least_free_hbm_bounds_the_calls_and_unknown_bounds_nothing(
    tmp_path: Path,
) -> None:
    build_amd_pair(Builder(tmp_path))
    write_memory(tmp_path, 60_000_000)
    used = tmp_path / "sys/bus/pci/devices/0000:27:00.0/mem_info_vram_used"
    settings = Settings(
        placement=PlacementSettings(memory_share=0.25, root=str(tmp_path)), quantum=QuantumSettings(shots=256)
    )
    watch = MemoryWatch(settings)
    used.write_text(f"{206_141_652_992 - 400_000}\n")
    watch.read()
    assert watch.point == BlockingPoint(100_000 // 25_824, 3 * 256, HBM, 100_000, 25_824)
    assert watch.limit.calls == 3
    used.write_text("N/A\n")
    watch.read()
    assert watch.point is not None
    assert watch.point.memory == PINNED
    assert watch.point.calls == 64 * MIB // 1_248


def test_partitions_whose_use_is_not_counted_leave_hbm_out(tmp_path: Path) -> None:
    root = build("mi300x-cpx", tmp_path)
    watch = MemoryWatch(Settings(placement=PlacementSettings(root=str(root))))
    watch.read()
    assert watch.point is not None
    assert watch.point.memory == PINNED


class System:
    """A scheduler that overlaps calls which have not arrived, with memory for so many."""

    def __init__(self, calls: int, on_full: OnFull) -> None:
        self.caller = FakeCaller(at_once=False)
        workload = build_rounded(0)
        point = BlockingPoint(calls, calls * 256, RAM, 1_000, 400)
        self.scheduler = Scheduler(
            workload,
            Aggregator(workload, workload.kernel("rounding", 6), "revalidate", loss_check=False),
            caller=self.caller,
            clock=StepClock(),
            policy=CallPolicy(1, "overlap", 200 * NS_PER_MS),
            memory=MemoryLimit(lambda: point, on_full),
        )

    def run(self, steps: int) -> None:
        for step in range(steps):
            self.scheduler.iterate(step)


def test_a_due_call_waits_for_an_earlier_one_or_is_not_made(caplog: pytest.LogCaptureFixture) -> None:
    blocking, refusing, full = System(2, "block"), System(2, "refuse"), System(0, "block")
    with caplog.at_level(logging.WARNING):
        for system in (blocking, refusing, full):
            system.run(5)
    assert blocking.scheduler.counts.asked == 5
    assert len(blocking.scheduler.finished) == 3
    assert (refusing.scheduler.counts.asked, refusing.scheduler.counts.no_memory) == (2, 3)
    assert refusing.scheduler.finished == []
    assert (full.scheduler.counts.asked, full.scheduler.counts.no_memory) == (0, 5)
    assert "3 because memory allows no more calls in flight" in str(refusing.scheduler.counts)
    assert [record.message.partition(":")[0] for record in caplog.records] == ["training"] * 3
    assert "due calls wait for earlier ones: 2 calls with 512 candidate vectors fit into" in caplog.text


def test_amounts_of_memory_are_read_without_powers_of_ten() -> None:
    assert "fit into 10,950 MiB of host memory" in str(BlockingPoint(1, 1, RAM, 10_950 << 20, 1))
    assert "fit into 0.25 MiB of host memory" in str(BlockingPoint(1, 1, RAM, 1 << 18, 1))


def test_a_service_refuses_beyond_the_point() -> None:
    point = BlockingPoint(3, 768, RAM, 1_500, 400)
    limit = MemoryLimit(lambda: point)
    assert refuse_by_memory(2, limit) is None
    refused = refuse_by_memory(3, limit)
    assert refused is not None
    assert (refused.limit, refused.allowed, refused.present) == (MEMORY, 3, 3)
    assert refuse_by_memory(10**6, NO_LIMIT) is None
