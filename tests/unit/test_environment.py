"""What a run records of the machine it trains on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from amd_tree import amd_host
from shotclock.app import on_gpu
from shotclock.app.site import Site, TorchBuild, trains_on_gpu
from shotclock.bench.record.environment import Described, differences, refuse_to_merge
from shotclock.domain.errors import SettingsError
from shotclock.training.loops import digits_mlp

ROCM = TorchBuild("2.13.0+rocm7.0", "7.0.51831", ("AMD Instinct MI300X",) * 2)
CPU = TorchBuild("2.13.0+cpu", "", ())


def test_an_amd_host_tells_gpu_driver_firmware_and_rocm(tmp_path: Path) -> None:
    site = Site(amd_host(tmp_path, cards=(0, 1)), ROCM)
    firmware = {"mec": "0x0000009b", "smc": "0x00556000"}
    assert site.firmware() == {"0000:00:00.0": firmware, "0000:01:00.0": firmware}
    facts = site.facts()
    assert re.fullmatch(r"4 blocks, sha256 [0-9a-f]{12}", facts.pop("gpu_firmware"))
    assert facts == {
        "gpu": "2 × AMD Instinct MI300X",
        "gpu_memory_gib": "192",
        "gpu_vbios": "113-M3000100-102",
        "amdgpu": "6.12.12",
        "rocm": "7.0.51831",
        "rocm_installed": "7.0.1-42",
    }


def test_a_host_without_a_gpu_adds_nothing_so_that_older_runs_still_compare(tmp_path: Path) -> None:
    assert Site(tmp_path, CPU).facts() == {}


def test_another_firmware_is_another_environment(tmp_path: Path) -> None:
    before = Described("before", Site(amd_host(tmp_path), ROCM).facts())
    (tmp_path / "sys/class/drm/card0/device/fw_version/smc_fw_version").write_text("0x00556100\n")
    after = Described("after", Site(tmp_path, ROCM).facts())
    (difference,) = differences(before, after)
    assert difference.startswith("gpu_firmware: ")
    with pytest.raises(SettingsError, match="--despite gpu_firmware"):
        refuse_to_merge([before, after])


def test_the_reference_workload_trains_on_the_cpu() -> None:
    assert not trains_on_gpu(digits_mlp.build(0))


def test_the_reference_workload_is_the_same_model_elsewhere() -> None:
    here, elsewhere = digits_mlp.build(3), on_gpu.digits_mlp(3)
    assert [elsewhere.step() for _ in range(3)] == pytest.approx([here.step() for _ in range(3)], rel=1e-3)
