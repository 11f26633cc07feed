"""AMD accelerators as the amdgpu driver shows them in sysfs. What cannot be read is left out, never 0.

https://docs.kernel.org/gpu/amdgpu/driver-misc.html names the files.
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
"""PCI's number of the vendor."""
UNKNOWN = frozenset(("", "n/a", "0xffff", "0xffffffff", "4294967295"))


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One card. address: on PCI; memory_bytes: None where the driver does not tell; firmware: a version a
    block of the chip, blocks without any left out.
    """

    card: str
    address: str
    memory_bytes: int | None = None
    vbios: str = ""
    firmware: Mapping[str, str] = field(default_factory=dict)


def accelerators(root: Path = Path("/")) -> tuple[Accelerator, ...]:
    """AMD's cards of this host, in order of their numbers; root: another tree to look at."""
    cards = [path for path in (root / CARDS).glob("card*") if re.fullmatch(r"card\d+", path.name)]
    cards.sort(key=lambda path: int(path.name.removeprefix("card")))
    return tuple(_card(path) for path in cards if _text(path / "device" / "vendor").lower() == AMD)


def driver(root: Path = Path("/")) -> str:
    """The amdgpu module's version, or of one built with its kernel the checksum of its source; "" where it
    is not loaded or tells neither.
    """
    if version := _text(root / DRIVER / "version"):
        return version
    source = _text(root / DRIVER / "srcversion")
    return f"the kernel's own, srcversion {source}" if source else ""


def rocm(root: Path = Path("/")) -> str:
    """The installed ROCm's version; "" where there is none in its usual place."""
    return _text(root / ROCM)


def _card(path: Path) -> Accelerator:
    device = path / "device"
    memory = _text(device / "mem_info_vram_total")
    found = {file.name.removesuffix("_fw_version"): _text(file) for file in (device / "fw_version").glob("*")}
    return Accelerator(
        card=path.name,
        address=device.resolve().name,
        memory_bytes=int(memory) if memory.isdigit() else None,
        vbios=_text(device / "vbios_version"),
        firmware={block: version for block, version in sorted(found.items()) if version.strip("0x")},
    )


def _text(file: Path) -> str:
    """What the file says; "" where it cannot be read or says that it does not know."""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return "" if text.lower() in UNKNOWN else text
