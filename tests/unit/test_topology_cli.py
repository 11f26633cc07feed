"""`shotclock topology`: what each machine's tree shows, and versions until they are acknowledged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from shotclock.app.host_health import check_host
from shotclock.cli.topology import topology
from shotclock.domain.errors import ShotclockError
from shotclock.settings import PlacementSettings, Settings
from topology_trees import MACHINES, build


def run(*words: str) -> str:
    ran = CliRunner().invoke(topology, words)
    if ran.exception is not None:
        raise ran.exception
    return ran.stdout


def show(root: Path, *words: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run("--root", str(root), "--json", *words))
    return document


@pytest.mark.parametrize("machine", MACHINES)
def test_the_document_of_every_machine_has_the_keys_that_scripts_read(
    shared_machine: Callable[[str], Path], machine: str
) -> None:
    document = show(shared_machine(machine))
    (host,), (edge,) = document["hosts"], document["edges"]
    assert {"accelerators", "fabrics", "components", "name", "kernel"} <= host.keys()
    assert [fabric["kind"] for fabric in host["fabrics"]] == ["xgmi", "ualink", "cxl", "rdma", "pcie"]
    assert all(fabric.keys() == {"kind", "devices", "available", "because"} for fabric in host["fabrics"])
    assert {"host", "endpoint", "transport"} <= edge.keys()
    assert edge["absent"] == {"rtt_ms": "was not measured"}
    assert [each["name"] for each in edge["capabilities"]] == [
        *("same fabric", "shared memory", "pinned transfer", "P2P DMA")
    ]
    assert document["choice"] == {"host": host["name"], "because": "it is the only host"}
    assert isinstance(document["problems"], list)
    assert "null" not in json.dumps(document)


def test_what_is_unknown_is_not_in_the_document_but_its_reason_is(tmp_path: Path) -> None:
    root = build("mi300x-cpx", tmp_path)
    (root / "sys/bus/pci/devices/0000:05:00.0/mem_info_vram_used").unlink()
    first = show(root)["hosts"][0]["accelerators"][0]
    assert (first["id"], first["partition"]) == ("GPU-2251a0b0c0d0e000/0", 0)
    assert "memory_used_bytes" not in first["device"]
    assert "No such file" in first["device"]["absent"]["memory_used_bytes"]


def test_the_outline_of_a_host_with_fabrics(shared_machine: Callable[[str], Path]) -> None:
    root = shared_machine("cxl")
    lines = run("--root", str(root)).splitlines()
    assert lines[:7] == [
        f"cxl-612 (Linux 6.12.0-1-amd64), from {root}",
        "  accelerators: this host computes on its CPUs alone: no AMD or NVIDIA device is on its PCI bus",
        "  fabrics",
        "    xgmi   unavailable: KFD lists no XGMI link",
        "    ualink unavailable: no accelerator has a UALink port",
        "    cxl    available: 2 memory devices, 1 of 2 ranges online",
        "      mem0: pci:0000:36:00.0, 0.5 GiB, node 2 (offline)",
    ]
    assert "  emulated:heron-torino (EMULATED)" in lines
    assert lines[-1] == "  cxl-612: CXL pci:0000:36:00.0: the memory of dax1.0 (node 2) is offline"


def test_the_outline_of_an_accelerator(shared_machine: Callable[[str], Path]) -> None:
    lines = run("--root", str(shared_machine("mi300x-cpx"))).splitlines()
    assert lines[2:6] == [
        "    0000:05:00.0, AMD Instinct MI300X OAM, GPU-2251a0b0c0d0e000, CPX, NUMA node 0",
        "      10.0 of 192.0 GiB used, memory busy 37%, 143 W, 41 °C, memory errors: 5 correctable in umc, "
        "1 deferred in umc, 1 retired page, 3 PCIe replays",
        "      8 partitions: GPU-2251a0b0c0d0e000/0 to 7, 24.0 GiB each",
        "      XGMI: 120 of 120 links enabled",
    ]


def test_changes_are_problems_and_a_refusal_until_they_are_acknowledged(tmp_path: Path) -> None:
    root, record = build("ualink", tmp_path / "tree"), tmp_path / "components.json"
    config = tmp_path / "settings.toml"
    config.write_text(f'[placement]\nacknowledged = "{record}"\non_change = "refuse"\n')
    settings = Settings(placement=PlacementSettings(acknowledged=str(record), on_change="refuse"))
    words = ("--config", str(config))
    with pytest.raises(ShotclockError, match="never acknowledged"):
        check_host(settings, root)
    assert show(root, *words)["acknowledged_at"] == ""

    acknowledged = json.loads(run("--root", str(root), "--json", *words, "acknowledge"))
    assert acknowledged == {"acknowledged": 16, "file": str(record)}
    check_host(settings, root)
    assert show(root, *words)["changes"] == []

    (root / "sys/module/ifoe/version").write_text("1.5.0\n")
    document = show(root, *words)
    assert [change["component"] for change in document["changes"]] == ["ifoe"]
    assert document["problems"][-1].startswith("ualink-tray: ifoe changed from 1.4.0, ")
    with pytest.raises(
        ShotclockError, match=r"1 version not acknowledged: ifoe changed from 1\.4\.0.*acknowledge"
    ):
        check_host(settings, root)
    run("--root", str(root), *words, "acknowledge")
    check_host(settings, root)


def test_the_default_record_is_not_compared_with_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run("--root", str(build("rdma", tmp_path / "tree")), "acknowledge")
    assert (tmp_path / "state/shotclock/components.json").is_file()
    assert show(build("cpu", tmp_path / "other"))["changes"] == []


def test_a_root_that_is_not_a_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ShotclockError, match=r"--root .*missing: is not a folder"):
        run("--root", str(tmp_path / "missing"))


def test_the_setting_names_this_hosts_tree_and_the_flag_another_machines(tmp_path: Path) -> None:
    own, config = build("mi300x-spx", tmp_path / "host"), tmp_path / "settings.toml"
    placement = f'acknowledged = "{tmp_path / "components.json"}"\nfabrics = ["cxl 7"]\nrack = "row-7"'
    config.write_text(f'[placement]\nroot = "{own}"\n{placement}\n')
    words = ("--config", str(config))
    (host,) = json.loads(run("--json", *words))["hosts"]
    assert host["source"] == f"{own}, this host's by placement.root"
    assert "cxl 7" in host["fabric_domains"]
    assert (
        run(*words)
        .splitlines()[0]
        .endswith(f", from {own}, this host's by placement.root, rack row-7 by label, read 0 s ago")
    )
    other = build("cpu", tmp_path / "other")
    (host,) = show(other, *words)["hosts"]
    assert (host["source"], "cxl 7" in host["fabric_domains"]) == (str(other), False)
    run(*words, "acknowledge")
    assert show(own, *words)["changes"] == []
    assert "amdgpu" in (tmp_path / "components.json").read_text()
    config.write_text(f'[placement]\nroot = "{tmp_path / "missing"}"\n')
    with pytest.raises(ShotclockError, match=r"^placement\.root: .*missing is not a folder; name one"):
        run(*words)


def test_this_machine_is_shown_whatever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    document = json.loads(run("--json"))
    assert document["hosts"][0]["name"]
