"""The machine that a run trains on: its accelerators, and the build of torch that uses them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from shotclock.domain.ports import Workload
from shotclock.placement.accelerators.amdgpu import read_driver, read_rocm
from shotclock.placement.accelerators.discover import read_devices
from shotclock.placement.accelerators.record import Device
from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent, is_known


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """The build of torch. hip: ROCm's version, "" for any other build; devices: names of visible devices."""

    version: str
    hip: str
    devices: tuple[str, ...]

    @classmethod
    def of_this_process(cls) -> TorchBuild:
        """The build in this process; torch reports "cuda" for ROCm too."""
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        names = tuple(torch.cuda.get_device_name(number) for number in range(count))
        return cls(torch.__version__, str(torch.version.hip or ""), names)


def trains_on_gpu(workload: Workload) -> bool:
    """Whether a step of it allocates memory on a GPU that torch sees."""
    workload.step()
    return torch.cuda.is_available() and torch.cuda.memory_allocated() > 0


@dataclass(frozen=True, slots=True)
class Site:
    """How to inspect the machine. root: of the file system; on_gpu: whether a workload trains on a GPU."""

    root: Path = Path("/")
    torch: TorchBuild = field(default_factory=TorchBuild.of_this_process)
    on_gpu: Callable[[Workload], bool] = trains_on_gpu

    def amd_devices(self) -> tuple[Device, ...]:
        """AMD's devices, by PCI address."""
        return tuple(device for device in read_devices(Tree(self.root)) if device.vendor == "AMD")

    def amdgpu(self) -> str:
        """The amdgpu driver's version; "" if it is not loaded or does not report it."""
        return read_driver(Tree(self.root))

    def firmware(self) -> dict[str, dict[str, str]]:
        """Each AMD device's firmware versions, by PCI address and by block."""
        return {device.address: dict(device.firmware) for device in self.amd_devices() if device.firmware}

    def facts(self) -> dict[str, str]:
        """Facts for the record of a run; what does not exist or is not reported is omitted."""
        devices = self.amd_devices()
        totals = (device.memory_total_bytes for device in devices)
        memory = {total for total in totals if not isinstance(total, Absent)}
        vbios = {str(device.vbios) for device in devices if is_known(device.vbios)}
        facts = {
            "gpu": _count_names(self.torch.devices) if self.torch.devices else "",
            "gpu_memory_gib": " and ".join(f"{size / 2**30:.0f}" for size in sorted(memory)),
            "gpu_vbios": ", ".join(sorted(vbios)),
            "gpu_firmware": _checksum(self.firmware()),
            "amdgpu": self.amdgpu() if devices else "",
            "rocm": self.torch.hip,
            "rocm_installed": read_rocm(Tree(self.root)),
        }
        return {name: value for name, value in facts.items() if value}


def _checksum(firmware: dict[str, dict[str, str]]) -> str:
    """Identifies a state in one line; the versions themselves would fill a page."""
    blocks = sum(len(card) for card in firmware.values())
    if not blocks:
        return ""
    text = json.dumps(firmware, sort_keys=True)
    return f"{blocks} blocks, sha256 {hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _count_names(names: tuple[str, ...]) -> str:
    return ", ".join(
        f"{count} × {name}" if count > 1 else name for name, count in sorted(Counter(names).items())
    )
