"""A host with AMD cards, as far as sysfs and /opt/rocm show it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def write(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n", encoding="utf-8")


def amd_host(root: Path, cards: Sequence[int] = (0,)) -> Path:
    """`device` is a link to the PCI device, as the kernel makes it. The values are of no real machine."""
    for number in cards:
        device = f"sys/devices/pci0000:00/0000:{number:02x}:00.0"
        write(root, f"{device}/vendor", "0x1002")
        write(root, f"{device}/mem_info_vram_total", "206141652992")
        write(root, f"{device}/vbios_version", "113-M3000100-102")
        write(root, f"{device}/fw_version/smc_fw_version", "0x00556000")
        write(root, f"{device}/fw_version/mec_fw_version", "0x0000009b")
        write(root, f"{device}/fw_version/vce_fw_version", "0x00000000")
        folder = root / f"sys/class/drm/card{number}"
        folder.mkdir(parents=True)
        (folder / "device").symlink_to(root / device)
    write(root, "sys/module/amdgpu/version", "6.12.12")
    write(root, "opt/rocm/.info/version", "7.0.1-42")
    return root
