"""Machines as trees of /sys and /proc, written from short descriptions.

`python tests/topology_trees.py MACHINE FOLDER` writes one, to try `shotclock topology --root FOLDER`. Shapes
and quirks are those of real machines, whose public recordings are named beside them; what tests expect is
written in the tests, by hand.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
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

    def write_all(self, folder: str, files: Mapping[str, object]) -> None:
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
    tree.module("amdgpu", "6.12.12", "533BB7E")
    tree.write("opt/rocm/.info/version", "7.0.1-42")


def build_mi300x_spx(tree: Builder) -> None:
    """Eight whole devices, four at each socket (shape: procfs' class/drm, k8s-device-plugin's KFD trees)."""
    tree.kernel("6.8.0-60-generic", "mi300x-spx")
    addresses = [f"0000:{bus}:00.0" for bus in ("05", "26", "46", "65", "85", "a6", "c6", "e5")]
    for number, address in enumerate(addresses):
        _mi300x(tree, number, address, number // 4, "SPX")
    _kfd(tree, addresses, 1, HBM_192)
    _amd_software(tree)


def build_amd_pair(tree: Builder) -> None:
    """Two whole devices, as a library that is compiled in a test knows them."""
    addresses = ["0000:05:00.0", "0000:27:00.0"]
    for number, address in enumerate(addresses):
        _mi300x(tree, number, address, number, "SPX")
    _kfd(tree, addresses, 1, HBM_192)


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


PPOD = "01020304-0506-0708-090A-0B0C0D0E0F10"


def build_ualink(tree: Builder) -> None:
    """A tray of a rack: four devices of a pod of 72 (values: rccl's AltRsmiTests; both layouts).

    The last device is in no virtual pod yet. Spellings of the link's type differ, as they do between builds.
    """
    tree.kernel("6.14.0-ifoe", "ualink-tray")
    addresses = [f"0000:{bus}:00.0" for bus in ("05", "25", "85", "a5")]
    types = ("UALoE", "ualoe", "UALLink", "UALink")
    for number, address in enumerate(addresses):
        folder = _mi300x(tree, number, address, number // 2, "SPX")
        tree.write_all(folder, {"product_name": "AMD Instinct MI455X", "mem_info_vram_total": HBM_432})
        is_last = number == 3
        ualink: dict[str, object] = {
            "link_type": types[number],
            "accel_id": 8 + number,
            "accel_state": "unconfigured" if is_last else "active",
            "bandwidth": 200_000,
            "latency": 100,
            "ppod_id": PPOD,
            "ppod_size": 72,
            "vpod_id": 0 if is_last else 2,
            "vpod_size": "0xFFFFFFFF" if is_last else 8,
            "addr_mode": "source-aliasing",
            "setup/local_accels" if number == 0 else "local_accels": "11 10 9 8",
            "config/vpod_active_accels" if number == 0 else "vpod_active_accels": "" if is_last else "8 9 10",
        }
        tree.write_all(f"{folder}/ualink", ualink)
    _kfd(tree, addresses, 1, HBM_432)
    _amd_software(tree)
    tree.module("ifoe", "1.4.0", "9F3C2B1")


def _cxl_memory(tree: Builder, name: str, address: str, serial: str, endpoint: int) -> str:
    """A type-3 device on a separate port; its folder is a child of its PCI function."""
    pci = tree.pci(address, "0x1af4", CXL_MEMORY, "cxl_pci", 0)
    folder = f"{pci}/{name}"
    files: dict[str, object] = {
        "serial": serial,
        "ram/size": "0x20000000",
        "pmem/size": "0x0",
        "firmware_version": "BWFW VERSION 00",
        "numa_node": 0,
    }
    tree.write_all(folder, files)
    tree.link(f"sys/bus/cxl/devices/{name}", folder)
    tree.aer(pci, correctable=4, nonfatal=0, fatal=0)
    port = f"sys/devices/platform/ACPI0017:00/root0/port1/endpoint{endpoint}"
    tree.link(f"{port}/uport", folder)
    tree.link(f"sys/bus/cxl/devices/endpoint{endpoint}", port)
    tree.link(f"sys/bus/cxl/drivers/cxl_mem/{name}", folder)
    return folder


def _cxl_region(tree: Builder, number: int, endpoint: int, node: int) -> str:
    """A region on one endpoint's decoder, with the DAX device that software sees; returns its folder."""
    region = f"sys/devices/platform/ACPI0017:00/root0/decoder0.{number}/region{number}"
    files = {"target0": f"decoder{endpoint}.0", "size": "0x20000000", "uuid": ""}
    tree.write_all(region, files)
    dax = f"{region}/dax_region{number}/dax{number}.0"
    tree.write_all(dax, {"size": 536_870_912, "target_node": node, "numa_node": 0})
    tree.link(f"sys/bus/dax/devices/dax{number}.0", dax)
    tree.link(f"sys/bus/cxl/devices/region{number}", region)
    tree.link(f"sys/bus/cxl/devices/dax_region{number}", f"{region}/dax_region{number}")
    return region


def _cxl_others(tree: Builder) -> None:
    """What else the folder holds."""
    for other in ("root0", "port1", "decoder0.0", "pmem0", "nvdimm-bridge0"):
        tree.link(f"sys/bus/cxl/devices/{other}", f"sys/devices/platform/ACPI0017:00/{other}")


def build_cxl(tree: Builder) -> None:
    """Two memory devices on Linux 6.12, numbered in the order of another boot; following links loops."""
    tree.kernel("6.12.0-1-amd64", "cxl-612")
    first = _cxl_memory(tree, "mem1", "0000:35:00.0", "0xc0ffee", 2)
    second = _cxl_memory(tree, "mem0", "0000:36:00.0", "0x0", 3)
    for folder in (first, second):
        tree.write_all(folder, {"ram/qos_class": 1, "firmware/loading": 0})
        tree.link(f"{folder}/driver", "sys/bus/cxl/drivers/cxl_mem")
    for number, (endpoint, node) in enumerate(((2, 1), (3, 2))):
        region = _cxl_region(tree, number, endpoint, node)
        tree.write(f"{region}/mode", "ram")
    nodes = "sys/devices/system/node"
    tree.write_all(nodes, {"online": "0-2", "has_memory": "0-1"})
    latency = {"read_latency": 230, "read_bandwidth": 28_000, "write_latency": 250, "write_bandwidth": 24_000}
    tree.write_all(f"{nodes}/node1/access0/initiators", latency)
    tree.link("sys/bus/event_source/devices/cxl_pmu_mem1.0", "sys/devices/cxl_pmu_mem1.0")
    _cxl_others(tree)
    for module in ("cxl_core", "cxl_mem", "cxl_pci"):
        tree.module(module, srcversion=f"{module.upper()}0612")


def build_cxl_old(tree: Builder) -> None:
    """One device on Linux 6.1, unbound, without a region: no qos_class, mode or firmware/, and no serial."""
    tree.kernel("6.1.0-30-amd64", "cxl-61")
    _cxl_memory(tree, "mem0", "0000:0d:00.0", "0x0", 1)
    tree.write_all("sys/devices/system/node", {"online": "0", "has_memory": "0"})
    _cxl_others(tree)


ROCE_ERRORS = ("out_of_sequence", "packet_seq_err", "local_ack_timeout_err", "rnr_nak_retry_err")


def build_rdma(tree: Builder) -> None:
    """Three drivers (shape: procfs' class/infiniband/mlx5_0; bnxt_re; rxe recorded on Linux 6.12)."""
    tree.kernel("6.12.0-1-amd64", "rdma-host")
    devices = "sys/class/infiniband"
    for name, address, driver in (
        ("mlx5_0", "0000:c1:00.0", "mlx5_core"),
        ("bnxt_re0", "0000:81:00.0", "bnxt_en"),
    ):
        pci = tree.pci(address, "0x15b3", ETHERNET, driver, 1)
        folder = f"{pci}/infiniband/{name}"
        tree.link(f"{devices}/{name}", folder)
        tree.link(f"{folder}/device", pci)
        netdev = f"{pci}/net/{name[:4]}np0"
        tree.write_all(netdev, {"operstate": "up", "speed": 200_000})
        tree.link(f"sys/class/net/{name[:4]}np0", netdev)
    port = {
        "state": "4: ACTIVE",
        "phys_state": "5: LinkUp",
        "rate": "200 Gb/sec (4X HDR)",
        "link_layer": "Ethernet",
    }
    mlx5 = f"{devices}/mlx5_0"
    tree.write(f"{mlx5}/fw_ver", "28.39.1002")
    tree.write_all(f"{mlx5}/ports/1", port)
    counters: dict[str, object] = {
        "port_rcv_data": 1_000,
        "port_xmit_data": 2_500,
        "port_rcv_packets": 77,
        "symbol_error": 2,
    }
    counters |= {"port_rcv_errors": 0, "port_xmit_wait": 3_599, "link_downed": 1, "VL15_dropped": "N/A"}
    tree.write_all(f"{mlx5}/ports/1/counters", counters)
    tree.write_all(f"{mlx5}/ports/1/hw_counters", {name: number for number, name in enumerate(ROCE_ERRORS)})
    tree.write_all(f"{mlx5}/ports/1/hw_counters", {"lifespan": 10, "rx_write_requests": 9})
    bnxt = f"{devices}/bnxt_re0"
    tree.write(f"{bnxt}/fw_ver", "229.2.52.0")
    tree.write_all(f"{bnxt}/ports/1", port)
    hardware = {
        "rx_bytes": 4_096,
        "tx_bytes": 8_192,
        "rx_pkts": 12,
        "to_retransmits": 6,
        "seq_err_naks_rcvd": 0,
    }
    tree.write_all(f"{bnxt}/ports/1/hw_counters", {**hardware, "active_qps": 3, "res_oob_drop_count": 1})
    _rxe(tree, f"{devices}/rxe0")
    tree.module("mlx5_core", srcversion="5A2C9B0E1F")
    tree.module("mlx5_ib", srcversion="7C1D2E3F40")
    tree.module("bnxt_re", "233.0.152.2", "AA01BB02CC")
    tree.module("rdma_rxe", srcversion="0C0D0E0F10")


def _rxe(tree: Builder, folder: str) -> None:
    """Soft-RoCE over a NIC that is down: no PCI device, no `counters`, an empty firmware version."""
    tree.write_all(folder, {"fw_ver": "", "parent": "eth1", "node_type": "1: CA"})
    port = {
        "state": "1: DOWN",
        "phys_state": "3: Disabled",
        "rate": "2.5 Gb/sec (1X SDR)",
        "link_layer": "Ethernet",
    }
    tree.write_all(f"{folder}/ports/1", port)
    counters = {
        "sent_pkts": 0,
        "rcvd_pkts": 0,
        "duplicate_request": 0,
        "retry_exceeded_err": 4,
        "lifespan": 10,
    }
    tree.write_all(f"{folder}/ports/1/hw_counters", counters)
    tree.write("sys/class/net/eth1/operstate", "down")


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
    "ualink": build_ualink,
    "cxl": build_cxl,
    "cxl-old": build_cxl_old,
    "rdma": build_rdma,
    "cpu": build_cpu,
}


def build(machine: str, root: Path) -> Path:
    """The machine's tree below the folder, which it returns."""
    MACHINES[machine](Builder(root))
    return root


if __name__ == "__main__":
    build(sys.argv[1], Path(sys.argv[2]))
