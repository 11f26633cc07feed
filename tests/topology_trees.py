"""Six machines as trees of /sys and /proc, written from short descriptions.

`python tests/topology_trees.py MACHINE FOLDER` writes one, to try `shotclock topology --root FOLDER`. Shapes
and quirks are those of real machines, whose public recordings are named beside them; what tests expect is
written in the tests, by hand.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

AMD, NVIDIA, ASPEED = "0x1002", "0x10de", "0x1a03"
COMPUTE, VGA, ETHERNET, CXL_MEMORY = "0x120000", "0x030000", "0x020000", "0x050210"
NODES = "sys/class/kfd/kfd/topology/nodes"
HBM_192 = 206_141_652_992
HBM_432 = 463_856_467_968
HIVE = 15_188_982_192_727_901_047


class Builder:
    """Writes files and links below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: object) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n", encoding="utf-8")

    def write_all(self, folder: str, files: dict[str, object]) -> None:
        for name, text in files.items():
            self.write(f"{folder}/{name}", text)

    def link(self, path: str, target: str) -> None:
        """`target` is of this tree; the link is relative, as sysfs makes it."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        (self.root / target).mkdir(parents=True, exist_ok=True)
        file.symlink_to(os.path.relpath(self.root / target, file.parent))

    def pci(self, address: str, vendor: str, code: str, driver: str, numa: int) -> str:
        """A PCI function, listed on its bus; returns its folder."""
        folder = f"sys/devices/pci0000:00/{address}"
        files = {"vendor": vendor, "class": code, "numa_node": numa}
        files |= {"current_link_width": 16, "max_link_width": 16}
        files |= {"current_link_speed": "32.0 GT/s PCIe", "max_link_speed": "32.0 GT/s PCIe"}
        self.write_all(folder, files)
        self.link(f"sys/bus/pci/devices/{address}", folder)
        self.link(f"{folder}/driver", f"sys/bus/pci/drivers/{driver}")
        return folder

    def module(self, name: str, version: str = "", srcversion: str = "") -> None:
        for file, text in (("version", version), ("srcversion", srcversion)):
            if text:
                self.write(f"sys/module/{name}/{file}", text)

    def kernel(self, release: str, hostname: str) -> None:
        self.write("proc/sys/kernel/osrelease", release)
        self.write("proc/sys/kernel/hostname", hostname)

    def properties(self, folder: str, **values: object) -> None:
        """A file of KFD's: a name and a value a line."""
        self.write(f"{folder}/properties", "\n".join(f"{name} {value}" for name, value in values.items()))

    def aer(self, folder: str, **totals: int) -> None:
        for severity, total in totals.items():
            name = {"correctable": "COR", "nonfatal": "NONFATAL", "fatal": "FATAL"}[severity]
            self.write(
                f"{folder}/aer_dev_{severity}", f"Undefined 0\nRxErr {total}\nTOTAL_ERR_{name} {total}"
            )


def _mi300x(tree: Builder, number: int, address: str, numa: int, mode: str) -> str:
    """An MI300X; the files are those that amdgpu has for it."""
    folder = tree.pci(address, AMD, COMPUTE, "amdgpu", numa)
    tree.link(f"sys/class/drm/card{number}", f"{folder}/drm/card{number}")
    tree.link(f"{folder}/drm/card{number}/device", folder)
    files: dict[str, object] = {
        "product_name": "AMD Instinct MI300X OAM",
        "unique_id": f"{0x2251A0B0C0D0E000 + number:016x}",
        "mem_info_vram_total": HBM_192,
        "mem_info_vram_used": 10_737_418_240 + number,
        "mem_busy_percent": 37,
        "current_compute_partition": mode,
        "current_memory_partition": "NPS1",
        "pcie_replay_count": 3,
        "vbios_version": "113-M3000100-102",
        "fw_version/smc_fw_version": "0x00556000",
        "fw_version/mec_fw_version": "0x0000009b",
        "fw_version/vce_fw_version": "0x00000000",
        "hwmon/hwmon3/name": "amdgpu",
        "hwmon/hwmon3/power1_average": 143_000_000,
        "hwmon/hwmon3/temp1_label": "junction",
        "hwmon/hwmon3/temp1_input": 41_000,
        "hwmon/hwmon3/temp2_label": "mem",
        "hwmon/hwmon3/temp2_input": 33_500,
        "ras/features": "feature mask: 0x3f",
        "ras/umc_err_count": "ue: 0\nce: 5\nde: 1",
        "ras/gfx_err_count": "ue: 0\nce: 0",
        "ras/gpu_vram_bad_pages": "0x00000001 : 0x00001000 : R\n0x00000002 : 0x00001000 : P",
    }
    tree.write_all(folder, files)
    return folder


def _kfd(tree: Builder, addresses: list[str], partitions: int, memory: int) -> None:
    """Two CPU nodes, and a node for each partition with links to all the others."""
    for cpu in (0, 1):
        tree.write(f"{NODES}/{cpu}/gpu_id", 0)
        tree.properties(f"{NODES}/{cpu}", cpu_cores_count=96, simd_count=0)
    last = 2 + len(addresses) * partitions
    for node in range(2, last):
        gpu, partition = divmod(node - 2, partitions)
        domain, bus, device = addresses[gpu].split(":")
        location = int(bus, 16) << 8 | int(device[:2], 16) << 3 | partition
        folder = f"{NODES}/{node}"
        tree.write(f"{folder}/gpu_id", 20_000 + node)
        tree.properties(
            folder,
            simd_count=152,
            vendor_id=4098,
            device_id=29857,
            location_id=location,
            domain=int(domain, 16),
            drm_render_minor=128 + node - 2,
            hive_id=HIVE,
            unique_id=0x2251A0B0C0D0E000 + gpu,
            num_xcc=8 // partitions,
        )
        size = memory // partitions
        tree.properties(f"{folder}/mem_banks/0", heap_type=1, size_in_bytes=size, width=8192)
        for link, to in enumerate(other for other in range(last) if other != node):
            flags = {"weight": 15, "min_bandwidth": 50_000, "max_bandwidth": 50_000, "flags": 1}
            kind = 2 if to < 2 else 11
            tree.properties(f"{folder}/io_links/{link}", type=kind, node_from=node, node_to=to, **flags)


def _amd_software(tree: Builder) -> None:
    tree.module("amdgpu", "6.12.12", "533BB7E5866E52F63B9ACCB")
    tree.write("opt/rocm/.info/version", "7.0.1-42")


def build_mi300x_spx(tree: Builder) -> None:
    """Eight whole devices, four at each socket (shape: procfs' class/drm, k8s-device-plugin's KFD trees)."""
    tree.kernel("6.8.0-60-generic", "mi300x-spx")
    addresses = [f"0000:{bus}:00.0" for bus in ("05", "26", "46", "65", "85", "a6", "c6", "e5")]
    for number, address in enumerate(addresses):
        _mi300x(tree, number, address, number // 4, "SPX")
    _kfd(tree, addresses, 1, HBM_192)
    _amd_software(tree)


def build_mi300x_cpx(tree: Builder) -> None:
    """Two devices of eight partitions each (shape: k8s-device-plugin's topo-mi300-cpx).

    Partitions after the first have cards of the platform device amdgpu_xcp, which are on no PCI address.
    """
    tree.kernel("6.8.0-60-generic", "mi300x-cpx")
    addresses = ["0000:05:00.0", "0000:27:00.0"]
    for number, address in enumerate(addresses):
        _mi300x(tree, number, address, number, "CPX")
    for number in range(2, 16):
        device = f"sys/devices/platform/amdgpu_xcp_{number}"
        tree.link(f"sys/class/drm/card{number}", f"{device}/drm/card{number}")
        tree.link(f"{device}/drm/card{number}/device", device)
    _kfd(tree, addresses, 8, HBM_192)
    _amd_software(tree)


def build_cpu(tree: Builder) -> None:
    """No accelerator: a management controller's graphics, and two empty folders as many kernels have them."""
    tree.kernel("6.1.0-30-amd64", "bare-cpu")
    folder = tree.pci("0000:c3:00.0", ASPEED, VGA, "ast", -1)
    tree.link("sys/class/drm/card0", f"{folder}/drm/card0")
    tree.link(f"{folder}/drm/card0/device", folder)
    for empty in ("sys/class/infiniband", "sys/bus/cxl/devices"):
        (tree.root / empty).mkdir(parents=True)


MACHINES: dict[str, Callable[[Builder], None]] = {
    "mi300x-spx": build_mi300x_spx,
    "mi300x-cpx": build_mi300x_cpx,
    "cpu": build_cpu,
}


def build(machine: str, root: Path) -> Path:
    """The machine's tree below the folder, which it returns."""
    MACHINES[machine](Builder(root))
    return root


if __name__ == "__main__":
    build(sys.argv[1], Path(sys.argv[2]))
