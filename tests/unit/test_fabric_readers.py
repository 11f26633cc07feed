"""Fabrics as /sys shows them. Expected figures are written by hand from the formats that the kernels have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, strategies

from shotclock.placement.accelerators.pci import list_functions
from shotclock.placement.fabrics import cxl, pcie, rdma, ualink, xgmi
from shotclock.placement.fabrics.cxl import CxlMemory
from shotclock.placement.fabrics.rdma import RdmaDevice
from shotclock.placement.fabrics.ualink import UALink
from shotclock.placement.topology import HostView, read_host
from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent, describe
from topology_trees import MACHINES, build

GARBAGE = (b"", b"-3", b"\xff\xfe", b"a" * 5000, b"1 2 3", b": : :", b"0-99999999999")


@pytest.fixture(scope="module")
def views(shared_machine: Callable[[str], Path]) -> dict[str, HostView]:
    """Each machine, built and read once."""
    return {name: read_host(Tree(shared_machine(name))) for name in MACHINES}


def why(value: object) -> str:
    assert isinstance(value, Absent), value
    return value.because


def ports(views: dict[str, HostView]) -> list[UALink]:
    devices = views["ualink"].host.fabric("ualink").devices
    return [device for device in devices if isinstance(device, UALink)]


def memories(view: HostView) -> dict[str, CxlMemory]:
    devices = view.host.fabric("cxl").devices
    return {device.id: device for device in devices if isinstance(device, CxlMemory)}


def networks(views: dict[str, HostView]) -> dict[str, RdmaDevice]:
    devices = views["rdma"].host.fabric("rdma").devices
    return {device.name: device for device in devices if isinstance(device, RdmaDevice)}


def test_an_accelerator_of_a_rack_has_its_place_in_it(views: dict[str, HostView]) -> None:
    first, *_, last = ports(views)
    assert [port.link_type for port in ports(views)] == ["UALoE", "UALoE", "UALink", "UALink"]
    assert (first.accel_id, first.accel_state, first.is_active) == (8, "active", True)
    assert first.bandwidth_bits_per_s == 2e11
    assert first.latency_ns == 100
    assert first.domain == ("01020304-0506-0708-090a-0b0c0d0e0f10", 2)
    assert (first.ppod_size, first.vpod_size) == (72, 8)
    assert first.addr_mode == "source-aliasing"
    assert {port.domain for port in ports(views)[:3]} == {first.domain}
    assert why(last.domain) == "it is in no virtual pod (vpod_id 0)"
    assert why(last.vpod_size).endswith("'0xFFFFFFFF', which means unknown")
    assert views["ualink"].problems == ("UALink of 0000:a5:00.0 is unconfigured",)


def test_both_layouts_of_the_folder_are_read(views: dict[str, HostView]) -> None:
    older, newer, *_ = ports(views)
    assert older.local_accels == newer.local_accels == (11, 10, 9, 8)
    assert older.vpod_active_accels == newer.vpod_active_accels == (8, 9, 10)


@pytest.mark.parametrize(
    ("library", "expected"),
    [
        ({"accel_id": 8, "vpod_id": 2, "PPOD_ID": "01020304-0506-0708-090A-0B0C0D0E0F10"}, []),
        ({"ppod_id": list(range(1, 17)), "accel_state": "AMDSMI_FABRIC_STATE_ACTIVE"}, []),
        ({"fabric_type": "AMDSMI_FABRIC_TYPE_UALOE", "vpod_size": "N/A"}, []),
        ({"vpod_id": 3, "ppod_size": 72}, ["vpod_id is 2 in sysfs and 3 in AMD's library"]),
        ({"accel_state": "configured"}, ["accel_state is active in sysfs and configured in AMD's library"]),
        (Absent("error 43"), ["sysfs says active, AMD's library no fabric (error 43)"]),
    ],
)
def test_what_library_and_sysfs_report_differently_is_said(
    views: dict[str, HostView], library: dict[str, object] | Absent, expected: list[str]
) -> None:
    lines = list(ualink.find_disagreements(ports(views)[0], library))
    assert lines == [f"UALink of 0000:05:00.0: {words}" for words in expected]


def test_a_cxl_device_is_its_serial_or_its_address_whatever_its_number(views: dict[str, HostView]) -> None:
    of_612 = memories(views["cxl"])
    assert set(of_612) == {"serial:0xc0ffee", "pci:0000:36:00.0"}
    first = of_612["serial:0xc0ffee"]
    assert (first.name, first.address, first.driver) == ("mem1", "0000:35:00.0", "cxl_mem")
    assert (first.volatile_bytes, first.persistent_bytes) == (536_870_912, 0)
    assert (first.correctable, first.nonfatal, first.fatal) == (4, 0, 0)
    assert "perf events" in why(first.throughput_bytes)


def test_cxl_memory_is_on_its_target_node_with_its_declared_latency(views: dict[str, HostView]) -> None:
    of_612 = memories(views["cxl"])
    (online,) = of_612["serial:0xc0ffee"].ranges
    assert (online.name, online.size_bytes, online.node, online.is_online) == ("dax0.0", 536_870_912, 1, True)
    assert (online.read_latency_ns, online.read_bytes_per_s) == (230, 28_000_000_000)
    (offline,) = of_612["pci:0000:36:00.0"].ranges
    assert (offline.node, offline.is_online) == (2, False)
    assert "No such file" in why(offline.read_latency_ns)
    assert views["cxl"].problems == ("CXL pci:0000:36:00.0: the memory of dax1.0 (node 2) is offline",)


def test_what_linux_6_1_lacks_is_absent(views: dict[str, HostView]) -> None:
    (device,) = memories(views["cxl-old"]).values()
    assert (device.id, device.volatile_bytes, device.ranges) == ("pci:0000:0d:00.0", 536_870_912, ())
    assert "No such file" in why(device.qos_class)
    assert "No such file" in why(device.driver)
    fabric = views["cxl-old"].host.fabric("cxl")
    assert (fabric.available, fabric.because) == (False, "1 memory device, no range of memory")


def test_words_of_rdma_are_bytes_and_the_drivers_names_are_kept(views: dict[str, HostView]) -> None:
    mlx5 = networks(views)["mlx5_0"]
    (port,) = mlx5.ports
    assert (mlx5.address, mlx5.driver, mlx5.firmware) == ("0000:c1:00.0", "mlx5_core", "28.39.1002")
    assert (mlx5.numa_node, mlx5.netdev_state, mlx5.netdev_bits_per_s) == (1, "up", 200_000_000_000)
    assert (port.state, port.is_up, port.link_layer) == ("ACTIVE", True, "Ethernet")
    assert (port.received_bytes, port.sent_bytes) == (4_000, 10_000)
    assert port.errors == {
        "link_downed": 1,
        "local_ack_timeout_err": 2,
        "out_of_sequence": 0,
        "packet_seq_err": 1,
        "port_rcv_errors": 0,
        "rnr_nak_retry_err": 3,
        "symbol_error": 2,
    }
    (port,) = networks(views)["bnxt_re0"].ports
    assert (port.received_bytes, port.sent_bytes) == (4_096, 8_192)
    assert port.errors == {"res_oob_drop_count": 1, "seq_err_naks_rcvd": 0, "to_retransmits": 6}


def test_soft_roce_has_no_bytes_no_address_and_no_firmware(views: dict[str, HostView]) -> None:
    rxe = networks(views)["rxe0"]
    assert (rxe.netdev, rxe.netdev_state) == ("eth1", "down")
    assert "No such file" in why(rxe.address)
    assert "means unknown" in why(rxe.firmware)
    (port,) = rxe.ports
    assert (port.state, port.is_up, port.rate) == ("DOWN", False, "2.5 Gb/sec (1X SDR)")
    assert port.errors == {"duplicate_request": 0, "retry_exceeded_err": 4}
    assert "no counter of bytes" in why(port.received_bytes)
    assert views["rdma"].problems == ("RDMA rxe0 port 1 is DOWN",)


def test_each_machine_says_which_fabrics_it_has_and_why(views: dict[str, HostView]) -> None:
    fabrics = {name: view.host.fabrics for name, view in views.items()}
    available = {name: [each.kind for each in kinds if each.available] for name, kinds in fabrics.items()}
    assert available == {
        "mi300x-spx": ["xgmi", "pcie"],
        "mi300x-cpx": ["xgmi", "pcie"],
        "ualink": ["xgmi", "ualink", "pcie"],
        "cxl": ["cxl"],
        "cxl-old": [],
        "rdma": ["rdma"],
        "cpu": [],
    }
    assert all(fabric.because for view in views.values() for fabric in view.host.fabrics)
    assert "computes on its CPUs alone" in views["cpu"].host.accelerators_because
    assert views["mi300x-spx"].host.fabric("xgmi").because == "8 accelerators in 1 hive, 56 link ends enabled"
    assert (views["cpu"].host.name, views["cpu"].host.kernel) == ("bare-cpu", "6.1.0-30-amd64")


def test_an_accelerator_with_fewer_lanes_than_it_could_have_is_a_problem(tmp_path: Path) -> None:
    build("mi300x-cpx", tmp_path)
    (tmp_path / "sys/bus/pci/devices/0000:05:00.0/current_link_width").write_text("8\n")
    assert read_host(Tree(tmp_path)).problems == ("0000:05:00.0: its PCIe link uses 8 of 16 lanes",)


def test_an_xgmi_link_that_is_not_enabled_is_counted(tmp_path: Path) -> None:
    build("mi300x-spx", tmp_path)
    file = tmp_path / "sys/class/kfd/kfd/topology/nodes/2/io_links/4/properties"
    file.write_text(file.read_text().replace("flags 1", "flags 0"))
    view = read_host(Tree(tmp_path))
    (hive,) = view.host.fabric("xgmi").devices
    assert isinstance(hive, xgmi.Hive)
    assert (hive.links, hive.links_down) == (55, 1)
    assert view.problems == ("XGMI hive d2ca1ad46147c377: 1 link end not enabled",)


def test_links_that_loop_through_a_driver_end(tmp_path: Path) -> None:
    """`memN/driver` leads to the driver, whose folder leads back to `memN`."""
    build("cxl", tmp_path)
    device = "sys/bus/cxl/devices/mem1"
    tree = Tree(tmp_path)
    assert tree.integer(f"{device}/driver/mem1/driver/mem1/serial") == 0xC0FFEE


@pytest.mark.parametrize("machine", MACHINES)
def test_a_machine_whose_every_file_is_garbage_is_read_to_the_end(tmp_path: Path, machine: str) -> None:
    build(machine, tmp_path)
    for number, path in enumerate(sorted(tmp_path.rglob("*"))):
        if path.is_file() and path.name not in {"vendor", "class", "gpu_id"}:
            path.write_bytes(GARBAGE[number % len(GARBAGE)])
    describe(read_host(Tree(tmp_path)))


@pytest.mark.parametrize("machine", ["ualink", "cxl", "rdma"])
def test_a_machine_of_links_to_nowhere_is_read_to_the_end(tmp_path: Path, machine: str) -> None:
    build(machine, tmp_path)
    for path in sorted(tmp_path.rglob("*")):
        if path.is_file() and not path.is_symlink():
            path.unlink()
            path.symlink_to(path.name)
    describe(read_host(Tree(tmp_path)))


def test_links_that_multiply_a_folder_end_at_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of nodes that are links to one node with hundreds of links: more reads than any host needs."""
    monkeypatch.setattr("shotclock.placement.tree.MOST_READS", 500)
    build("mi300x-cpx", tmp_path)
    nodes = tmp_path / "sys/class/kfd/kfd/topology/nodes"
    for number in range(100, 400):
        (nodes / str(number)).symlink_to("2")
        (nodes / "2/io_links" / str(number)).symlink_to("0")
    view = read_host(Tree(tmp_path))
    assert view.problems[0] == "only 20,000 files of this tree were read; the others are absent"
    assert view.host.accelerators
    assert "other files were" in why(view.host.kernel)


@given(strategies.text(alphabet="0123456789-, x\n", max_size=20))
def test_a_kernel_s_list_of_any_text_has_numbers_alone(text: str) -> None:
    assert all(number >= 0 for number in cxl.parse_ranges(text))
    assert cxl.parse_ranges("0-1,4") == {0, 1, 4}


def test_error_totals_are_read_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "aer_dev_fatal").write_text("Undefined 0\nDLP 1\nTOTAL_ERR_FATAL 7\n")
    (tmp_path / "aer_dev_nonfatal").write_text("TOTAL_ERR_NONFATAL many\n")
    tree = Tree(tmp_path)
    assert pcie.read_errors(tree, ".", "fatal") == 7
    assert "has no total" in why(pcie.read_errors(tree, ".", "nonfatal"))
    assert "No such file" in why(pcie.read_errors(tree, ".", "correctable"))


def test_folders_of_these_names_may_be_missing(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    assert (list_functions(tree), rdma.read_devices(tree), cxl.read_memories(tree)) == ((), (), ())
