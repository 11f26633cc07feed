"""AMD accelerators as the amdgpu driver shows them in sysfs. Unreadable values are omitted, never 0.

https://docs.kernel.org/gpu/amdgpu/driver-misc.html documents the files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

CARDS = Path("sys/class/drm")
DRIVER = Path("sys/module/amdgpu")
ROCM = Path("opt/rocm/.info/version")
AMD = "0x1002"
"""AMD's PCI vendor ID."""
UNKNOWN = frozenset(("", "n/a", "0xffff", "0xffffffff", "4294967295"))


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One card.

    card: its name in /sys/class/drm
    address: its PCI address
    memory_bytes: VRAM; None if the driver does not report it
    vbios: its VBIOS version; "" if not reported
    firmware: version of each block of the chip that has one
    """

    card: str
    address: str
    memory_bytes: int | None = None
    vbios: str = ""
    firmware: Mapping[str, str] = field(default_factory=dict)


def accelerators(root: Path = Path("/")) -> tuple[Accelerator, ...]:
    """This host's AMD cards by number; `root` replaces the file system's root in tests."""
    cards = [path for path in (root / CARDS).glob("card*") if re.fullmatch(r"card\d+", path.name)]
    cards.sort(key=lambda path: int(path.name.removeprefix("card")))
    return tuple(_card(path) for path in cards if _text(path / "device" / "vendor").lower() == AMD)


def driver(root: Path = Path("/")) -> str:
    """The amdgpu module's version, or its source checksum if it was built with the kernel; "" if it is not
    loaded or reports neither.
    """
    if version := _text(root / DRIVER / "version"):
        return version
    source = _text(root / DRIVER / "srcversion")
    return f"the kernel's own, srcversion {source}" if source else ""


def rocm(root: Path = Path("/")) -> str:
    """The installed ROCm's version; "" if the usual file does not exist."""
    return _text(root / ROCM)


def _card(path: Path) -> Accelerator:
    device = path / "device"
    memory = _text(device / "mem_info_vram_total")
    files = (device / "fw_version").glob("*")
    versions = {file.name.removesuffix("_fw_version"): _text(file) for file in files}
    return Accelerator(
        card=path.name,
        address=device.resolve().name,
        memory_bytes=int(memory) if memory.isdigit() else None,
        vbios=_text(device / "vbios_version"),
        firmware={block: version for block, version in sorted(versions.items()) if version.strip("0x")},
    )


def _text(file: Path) -> str:
    """The file's text; "" if it cannot be read or its value means unknown."""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return "" if text.lower() in UNKNOWN else text
