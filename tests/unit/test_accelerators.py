"""Accelerators as /sys and /proc show them: what is reported, and what is absent with its reason.

The expected figures are written by hand from the formats of the files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from amd_tree import amd_host, write
from shotclock.placement.accelerators import nvidia
from shotclock.placement.accelerators.amdgpu import read_driver, read_rocm
from shotclock.placement.accelerators.discover import partition, read_accelerators, read_devices
from shotclock.placement.accelerators.kfd import locate
from shotclock.placement.accelerators.record import Accelerator, Device, ErrorCount
from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent
from topology_trees import build


@pytest.fixture(scope="module")
def spx(shared_machine: Callable[[str], Path]) -> tuple[Accelerator, ...]:
    return read_accelerators(Tree(shared_machine("mi300x-spx")))


@pytest.fixture(scope="module")
def cpx(shared_machine: Callable[[str], Path]) -> tuple[Accelerator, ...]:
    return read_accelerators(Tree(shared_machine("mi300x-cpx")))


def read_only(root: Path) -> Device:
    (device,) = read_devices(Tree(root))
    return device


def why(value: object) -> str:
    assert isinstance(value, Absent), value
    return value.because


def test_a_host_without_a_gpu_has_no_accelerator(tmp_path: Path) -> None:
    build("cpu", tmp_path)
    assert read_accelerators(Tree(tmp_path)) == ()
    assert (read_driver(Tree(tmp_path)), read_rocm(Tree(tmp_path))) == ("", "")


def test_an_mi300x_has_every_figure_in_its_unit(spx: tuple[Accelerator, ...]) -> None:
    device = spx[0].device
    assert (device.address, device.vendor, device.name) == ("0000:05:00.0", "AMD", "AMD Instinct MI300X OAM")
    assert device.uuid == "GPU-2251a0b0c0d0e000"
    assert (device.card, device.driver, device.numa_node) == ("card0", "amdgpu", 0)
    assert (device.compute_partition, device.memory_partition) == ("SPX", "NPS1")
    assert device.memory_total_bytes == 206_141_652_992
    assert device.memory_used_bytes == 10_737_418_240
    assert device.memory_busy_ratio == 0.37
    assert (device.memory_bandwidth_ratio, device.memory_bandwidth_method) == (0.37, "estimate")
    assert why(device.memory_maximum_bytes_per_s) == "sysfs does not have it"
    assert (device.power_w, device.temperature_c, device.memory_temperature_c) == (143.0, 41.0, 33.5)
    assert (device.pcie_replays, device.vbios) == (3, "113-M3000100-102")
    assert device.firmware == {"mec": "0x0000009b", "smc": "0x00556000"}


def test_errors_and_retired_pages_are_counted(spx: tuple[Accelerator, ...]) -> None:
    device = spx[0].device
    assert device.has_ecc is True
    assert device.ecc == (
        ErrorCount("gfx", "uncorrectable", 0),
        ErrorCount("gfx", "correctable", 0),
        ErrorCount("umc", "uncorrectable", 0),
        ErrorCount("umc", "correctable", 5),
        ErrorCount("umc", "deferred", 1),
    )
    assert device.retired_pages == 1


def test_eight_whole_devices_reach_each_other_over_xgmi(spx: tuple[Accelerator, ...]) -> None:
    assert len(spx) == 8
    assert [each.id for each in spx] == [f"GPU-2251a0b0c0d0e00{number}" for number in range(8)]
    assert {each.hive for each in spx} == {"d2ca1ad46147c377"}
    links = spx[0].links
    assert not isinstance(links, Absent)
    buses = ("26", "46", "65", "85", "a6", "c6", "e5")
    assert [link.to for link in links] == [f"0000:{bus}:00.0" for bus in buses]
    assert all(link.is_up is True for link in links)
    assert [each.device.numa_node for each in spx] == [0] * 4 + [1] * 4


def test_each_partition_is_an_accelerator_by_uuid_and_partition(cpx: tuple[Accelerator, ...]) -> None:
    assert len(cpx) == 16
    assert [each.id for each in cpx[:9]] == [
        *(f"GPU-2251a0b0c0d0e000/{number}" for number in range(8)),
        "GPU-2251a0b0c0d0e001/0",
    ]
    assert {each.device.address for each in cpx[:8]} == {"0000:05:00.0"}
    assert {each.device.compute_partition for each in cpx} == {"CPX"}
    assert {each.memory_total_bytes for each in cpx} == {25_767_706_624}
    assert "for the whole device" in why(cpx[0].memory_used_bytes)
    links = cpx[0].links
    assert not isinstance(links, Absent)
    assert [link.to for link in links][6:8] == ["0000:05:00.0/7", "0000:27:00.0/0"]


@pytest.mark.parametrize(
    ("location", "address", "partition"),
    [
        (0x2700, "0000:27:00.0", 0),
        (0x2705, "0000:27:00.0", 5),  # the newer form
        (0x50002700, "0000:27:00.0", 5),  # the older one
        (0x2702, "0000:27:00.2", 0),  # a virtual function that is on the bus
    ],
)
def test_a_location_is_an_address_and_a_partition(location: int, address: str, partition: int) -> None:
    addresses = {"0000:27:00.0"} if address.endswith(".0") else {"0000:27:00.0", address}
    assert locate(location, 0, addresses) == (address, partition)


def test_cards_without_an_entry_on_the_bus_are_read_in_the_order_of_addresses(tmp_path: Path) -> None:
    amd_host(tmp_path, cards=(10, 2))
    write(tmp_path, "sys/class/drm/card2-DP-1/device/vendor", "0x1002")
    write(tmp_path, "sys/class/drm/renderD128/device/vendor", "0x1002")
    devices = read_devices(Tree(tmp_path))
    assert [(device.card, device.address) for device in devices] == [
        ("card2", "0000:02:00.0"),
        ("card10", "0000:0a:00.0"),
    ]


@pytest.mark.parametrize("unknown", ["N/A", "0xFFFF", "0xffffffff", "4294967295", "", "0xFFFFFFFFFFFFFFFF"])
def test_an_unknown_value_is_absent_and_never_a_number(tmp_path: Path, unknown: str) -> None:
    amd_host(tmp_path)
    for name in ("mem_info_vram_total", "mem_busy_percent", "vbios_version", "pcie_replay_count"):
        write(tmp_path, f"sys/class/drm/card0/device/{name}", unknown)
    device = read_only(tmp_path)
    for value in (device.memory_total_bytes, device.memory_busy_ratio, device.vbios, device.pcie_replays):
        assert why(value).endswith("means unknown")
    assert why(device.memory_bandwidth_method) == "the busy share is not known"


@pytest.mark.parametrize(
    ("features", "counts", "expected"),
    [
        ("feature mask: 0x1", "ue: 0\nce: 0", {"uncorrectable": 0, "correctable": 0}),
        ("feature mask: 0x1", "ue: 0\nce: 0\nde: 7", {"uncorrectable": 0, "correctable": 0, "deferred": 7}),
        ("", "ue: 0\nce: 0", "a count of 0 is not trusted"),
        ("feature mask: 0x2", "ue: 0\nce: 0", "the memory's errors are not counted"),
        ("", "ue: 2\nce: 0", {"uncorrectable": 2}),
        ("feature mask: 0x1", "ue: many", "has no counts"),
    ],
)
def test_a_zero_of_ecc_is_trusted_only_where_the_driver_counts(
    tmp_path: Path, features: str, counts: str, expected: dict[str, int] | str
) -> None:
    amd_host(tmp_path)
    write(tmp_path, "sys/class/drm/card0/device/ras/features", features)
    write(tmp_path, "sys/class/drm/card0/device/ras/umc_err_count", counts)
    errors = read_only(tmp_path).ecc
    if isinstance(expected, str):
        assert expected in why(errors)
    else:
        assert not isinstance(errors, Absent)
        assert {error.severity: error.count for error in errors} == expected


@pytest.mark.parametrize(
    ("pages", "features", "expected"),
    [
        ("", "feature mask: 0x1", 0),
        ("", "", "not trusted"),
        ("0x1 : 0x1000 : R\n0x2 : 0x1000 : R\n0x3 : 0x1000 : F", "", 2),
        ("a page", "feature mask: 0x1", "is not a list of pages"),
    ],
)
def test_retired_pages_are_counted_and_no_zero_is_made_up(
    tmp_path: Path, pages: str, features: str, expected: int | str
) -> None:
    amd_host(tmp_path)
    write(tmp_path, "sys/class/drm/card0/device/ras/features", features)
    write(tmp_path, "sys/class/drm/card0/device/ras/gpu_vram_bad_pages", pages)
    retired = read_only(tmp_path).retired_pages
    if isinstance(expected, str):
        assert expected in why(retired)
    else:
        assert retired == expected


def test_a_device_without_a_driver_is_listed_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path, "sys/bus/pci/devices/0000:05:00.0/vendor", "0x1002")
    write(tmp_path, "sys/bus/pci/devices/0000:05:00.0/class", "0x120000")
    write(tmp_path, "sys/bus/pci/devices/0000:05:00.0/numa_node", "-1")
    (accelerator,) = read_accelerators(Tree(tmp_path))
    assert accelerator.id == "pci:0000:05:00.0"
    assert "no card" in why(accelerator.device.card)
    assert "none is assigned" in why(accelerator.device.numa_node)
    assert "No such file" in why(accelerator.memory_total_bytes)


def test_an_nvidia_device_is_known_by_its_driver(tmp_path: Path) -> None:
    write(tmp_path, "sys/bus/pci/devices/0000:1b:00.0/vendor", "0x10de")
    write(tmp_path, "sys/bus/pci/devices/0000:1b:00.0/class", "0x030200")
    write(tmp_path, "sys/bus/pci/devices/0000:1b:00.0/numa_node", "1")
    write(
        tmp_path,
        "proc/driver/nvidia/gpus/0000:1b:00.0/information",
        "Model: \t\t NVIDIA H200\nIRQ: 12\nGPU UUID: \t GPU-12ab-34\nVideo BIOS: \t ??.??.??",
    )
    (accelerator,) = read_accelerators(Tree(tmp_path))
    assert (accelerator.id, accelerator.device.name) == ("GPU-12ab-34", "NVIDIA H200")
    assert accelerator.device.numa_node == 1
    assert "does not initialise CUDA" in why(accelerator.memory_total_bytes)
    assert why(accelerator.device.vbios) == "the driver does not report Video BIOS"


TORCH = """
import sys
print("a line that torch prints")
class cuda:
    device_count = staticmethod(lambda: 1)
    @staticmethod
    def get_device_properties(number):
        return type("Properties", (), {"uuid": "12ab-34", "total_memory": 150_000_000_000})
__version__ = "2.9"
"""


def test_the_memory_of_an_nvidia_device_is_asked_of_torch_in_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text(TORCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    totals = nvidia.ask_torch()
    assert totals == {"GPU-12ab-34": 150_000_000_000}
    visible = Device("0000:1b:00.0", "NVIDIA", uuid="GPU-12ab-34", memory_used_bytes=nvidia.USED)
    hidden = Device("0000:1c:00.0", "NVIDIA", uuid="GPU-0")
    first, other = nvidia.join(partition(Tree(tmp_path), (visible, hidden)), totals)
    assert first.memory_total_bytes == first.device.memory_total_bytes == 150_000_000_000
    assert "CUDA context" in why(first.memory_used_bytes)
    assert "CUDA_VISIBLE_DEVICES" in why(other.memory_total_bytes)
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.12: cannot open')\n")
    assert why(nvidia.ask_torch()) == "torch: OSError: libcudart.so.12: cannot open"


def test_the_driver_is_its_version_or_the_checksum_of_its_source(tmp_path: Path) -> None:
    amd_host(tmp_path)
    assert (read_driver(Tree(tmp_path)), read_rocm(Tree(tmp_path))) == ("6.12.12", "7.0.1-42")
    (tmp_path / "sys/module/amdgpu/version").unlink()
    write(tmp_path, "sys/module/amdgpu/srcversion", "533BB7E5866E52F63B9ACCB")
    assert read_driver(Tree(tmp_path)) == "the kernel's own, srcversion 533BB7E5866E52F63B9ACCB"


def test_a_device_is_its_figures_alone(spx: tuple[Accelerator, ...]) -> None:
    """Two devices of one kind differ in identity, place and use, and in nothing else."""
    first, second = spx[0].device, spx[1].device
    same = replace(
        second,
        address=first.address,
        uuid=first.uuid,
        card=first.card,
        memory_used_bytes=first.memory_used_bytes,
    )
    assert same == first
