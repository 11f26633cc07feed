"""Figures around calls: what a reading holds, what changed during a call, and what summary and page say."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import run_folder
import synthetic
from shotclock.app.watched_calls import HostWatch
from shotclock.bench.analysis import AroundCalls
from shotclock.bench.judge.checklist import INSTRUMENTS, checklist
from shotclock.bench.judge.summarise import summarise
from shotclock.bench.record.rows import StepRow, steps, table
from shotclock.bench.report.run.accelerators_table import list_lines, name_devices, say_nothing
from shotclock.bench.report.run.page import page
from shotclock.bench.schema import Summary
from shotclock.bench.verify.findings import check_worth
from shotclock.domain.host_figures import NOT_READ, AcceleratorFacts, AroundCall, HostReading
from shotclock.placement.figures.call_watch import CallWatch
from shotclock.placement.figures.reading import CallReader
from shotclock.placement.tree import Tree
from topology_trees import Builder, build, build_amd_pair

GIB = 2**30
DEVICE = "sys/bus/pci/devices/0000:05:00.0"


def test_a_reading_sums_the_accelerators_of_the_process(shared_machine: Callable[[str], Path]) -> None:
    reader = CallReader(Tree(shared_machine("mi300x-spx")), {})
    reading = reader.read()
    assert reading.hbm_used_bytes == 8 * 10_737_418_240 + sum(range(8))
    assert reading.hbm_bandwidth_ratio == pytest.approx(0.37)
    assert reading.hbm_bandwidth_method == "estimate"
    errors = {key[1][1:]: value for key, value in reading.counts.items() if key[0] == "ecc_errors"}
    assert errors["umc", "correctable"] == 5
    assert errors["umc", "deferred"] == 1
    assert sum(value for key, value in reading.counts.items() if key[0] == "pcie_replays") == 8 * 3
    assert reader.accelerators[0] == AcceleratorFacts(
        "GPU-2251a0b0c0d0e000", "AMD Instinct MI300X OAM", 206_141_652_992
    )


@pytest.mark.parametrize(
    ("masks", "numbers"),
    [
        ({"ROCR_VISIBLE_DEVICES": "1,3"}, [1, 3]),
        ({"ROCR_VISIBLE_DEVICES": "GPU-2251a0b0c0d0e002,0"}, [2, 0]),
        ({"ROCR_VISIBLE_DEVICES": "4,5,6", "HIP_VISIBLE_DEVICES": "2"}, [6]),
        ({"CUDA_VISIBLE_DEVICES": "7,99,1"}, [7]),
        ({"HIP_VISIBLE_DEVICES": ""}, []),
    ],
)
def test_masks_leave_the_accelerators_of_the_process(
    shared_machine: Callable[[str], Path], masks: dict[str, str], numbers: list[int]
) -> None:
    reader = CallReader(Tree(shared_machine("mi300x-spx")), masks)
    assert [each.id[-1] for each in reader.accelerators] == [str(number) for number in numbers]
    expected = sum(10_737_418_240 + number for number in numbers)
    assert reader.read().hbm_used_bytes == (expected or None)
    if not numbers:
        assert reader.because == "the masks of visible devices leave this process none of 8 accelerators"


def test_words_of_rdma_are_four_bytes_and_a_host_of_cpus_has_nothing_to_read(
    shared_machine: Callable[[str], Path],
) -> None:
    rdma = CallReader(Tree(shared_machine("rdma")), {})
    counts = rdma.read().counts
    assert counts["rdma_bytes", ("mlx5_0", "1", "received")] == 4 * 1_000
    assert counts["rdma_errors", ("rxe0", "1", "retry_exceeded_err")] == 4
    assert rdma.read().hbm_used_bytes is None
    assert CallReader(Tree(shared_machine("cxl")), {}).read().counts == {
        ("cxl_errors", (memory, severity)): total
        for memory in ("serial:0xc0ffee", "pci:0000:36:00.0")
        for severity, total in (("correctable", 4), ("nonfatal", 0), ("fatal", 0))
    }
    host = HostWatch.open(shared_machine("cpu"))
    assert (host.accelerators, host.watch) == ((), None)
    assert host.take("a/0/b") == NOT_READ


def watch_change(root: Path, change: Callable[[], None]) -> AroundCall:
    """What is read around a call during which `change` is made."""
    reader = CallReader(Tree(root), {})
    second = threading.Event()
    readings: list[HostReading] = []

    def read() -> HostReading:
        if readings:
            second.set()
        readings.append(reader.read())
        return readings[-1]

    watch = CallWatch(read, every_s=0.001)
    watch.begin("call")
    assert second.wait(60)  # the first is kept by then
    change()
    watch.end("call")
    around = watch.take("call")
    watch.close()
    assert watch.take("call") == NOT_READ
    return around


def test_changes_are_counted_across_a_driver_s_reload_and_what_is_unknown_is_none(tmp_path: Path) -> None:
    build_amd_pair(Builder(tmp_path))

    def change() -> None:
        for file, text in (
            ("mem_info_vram_used", 21_474_836_480),
            ("pcie_replay_count", 1),  # it was 3: the driver began again
            ("ras/umc_err_count", "ue: 1\nce: 7\nde: 1"),
        ):
            (tmp_path / DEVICE / file).write_text(f"{text}\n")

    around = watch_change(tmp_path, change)
    assert around.hbm_used_before_bytes == 2 * 10_737_418_240 + 1
    assert around.hbm_used_after_bytes == around.hbm_used_peak_bytes == 21_474_836_480 + 10_737_418_240 + 1
    assert (around.ecc_errors, around.pcie_replays) == (3, 1)
    assert around.hbm_bandwidth_ratio == pytest.approx(0.37)
    assert around.rdma_bytes is around.rdma_errors is around.cxl_errors is None


def test_a_counter_that_is_lost_is_not_counted_and_no_part_stands_for_the_sum(tmp_path: Path) -> None:
    build_amd_pair(Builder(tmp_path))

    def change() -> None:
        (tmp_path / DEVICE / "mem_info_vram_used").write_text("N/A\n")
        (tmp_path / DEVICE / "pcie_replay_count").write_text("N/A\n")

    around = watch_change(tmp_path, change)
    assert around.hbm_used_after_bytes is None
    assert around.pcie_replays == 0  # of the other device


def test_a_call_that_ends_before_its_first_reading_has_no_figures_and_waits_for_none(tmp_path: Path) -> None:
    reader = CallReader(Tree(build("rdma", tmp_path)), {})
    entered, release = threading.Event(), threading.Event()

    def read() -> HostReading:
        entered.set()
        release.wait(60)
        return reader.read()

    watch = CallWatch(read)
    watch.begin("short")
    assert entered.wait(60)
    watch.end("short")
    assert watch.take("short") == NOT_READ
    watch.close()
    release.set()


READ = AroundCall(
    hbm_used_before_bytes=100 * GIB,
    hbm_used_after_bytes=104 * GIB,
    hbm_used_peak_bytes=110 * GIB,
    hbm_bandwidth_ratio=0.25,
    hbm_bandwidth_method="estimate",
    ecc_errors=1,
    pcie_replays=0,
)
DEVICES = (AcceleratorFacts("GPU-1", "AMD Instinct MI300X OAM", 192 * GIB),) * 2


def rows_with(around: AroundCall, idle_ns: int | None) -> list[StepRow]:
    rows = synthetic.rows(synthetic.SMALL)
    return [
        replace(row, call=replace(row.call, gpu_idle_ns=idle_ns, around=around)) if row.call else row
        for row in rows
    ]


def summarise_with(rows: list[StepRow], devices: tuple[AcceleratorFacts, ...], because: str) -> Summary:
    return summarise(rows, replace(run_folder.facts(), accelerators=devices, accelerators_because=because))


def test_summary_page_and_checklist_have_what_was_read_and_rows_give_it_again() -> None:
    rows = rows_with(READ, 50_000_000)
    assert steps(table(rows)) == rows
    summary = summarise_with(rows, DEVICES, "2 of 2 accelerators of this host")
    assert summary.accelerators is not None
    around = summary.accelerators.arms["hybrid-colocated"]
    assert around == AroundCalls(
        calls=24,
        hbm_used_before_bytes=100 * GIB,
        hbm_used_after_bytes=104 * GIB,
        hbm_used_peak_bytes=110 * GIB,
        hbm_bandwidth_ratio=0.25,
        hbm_bandwidth_method="estimate",
        ecc_errors=24,
        pcie_replays=0,
        gpu_idle_s=1.2,
        gpu_idle_per_call_s=1.2 / 24,
    )
    document = json.loads(summary.model_dump_json())["accelerators"]
    assert "classical-only" not in document["arms"]
    assert "rdma_bytes" not in document["arms"]["hybrid-colocated"]
    assert list(check_worth(rows, summary)) == []
    assert name_devices(summary) == "2 × AMD Instinct MI300X OAM, 384 GiB of HBM"
    assert "hybrid-colocated: 24 calls read, HBM 100 GiB before and 104 after" in "\n".join(
        list_lines(summary)
    )
    text = page(summary, [], [])
    assert "Accelerators around calls" in text
    assert "ECC errors" in text
    assert "RDMA bytes" not in text
    (point,) = (each for each in checklist(summary) if each.key == INSTRUMENTS)
    assert "hardware counters were read around calls" in point.said


def test_a_host_of_cpus_says_so_in_one_line() -> None:
    rows = rows_with(NOT_READ, None)
    summary = summarise_with(rows, (), "this host computes on its CPUs alone")
    assert json.loads(summary.model_dump_json())["accelerators"] == {
        "because": "this host computes on its CPUs alone",
        "devices": [],
        "arms": {},
        "warnings": [],
    }
    assert say_nothing(summary) == "No accelerator on this host: this host computes on its CPUs alone."
    assert page(summary, [], []).count("No accelerator on this host") == 1
    (point,) = (each for each in checklist(summary) if each.key == INSTRUMENTS)
    assert "hardware counters were not measured: no accelerator on this host" in point.said
