"""Several hosts in one graph: reports between hosts, roots, racks, contradictions, and the picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from typer.testing import CliRunner

from shotclock.app.topology import read_view
from shotclock.app.topology_picture import WIDTH, draw
from shotclock.cli.topology import topology
from shotclock.domain.errors import SettingsError
from shotclock.domain.hosts import Endpoint
from shotclock.placement.graph import Root, find_roots
from shotclock.placement.rack import Rack, find_rack
from shotclock.placement.report import KINDS, InvalidReportError, read_report, write_report
from shotclock.placement.topology import HostView, read_host
from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent
from shotclock.settings import Settings
from topology_trees import MACHINES, build

Machines = Callable[[str], Path]
POD = "01020304-0506-0708-090a-0b0c0d0e0f10"


def run(*words: str) -> str:
    ran = CliRunner().invoke(topology, words)
    if ran.exception is not None:
        raise ran.exception
    return ran.stdout


def view_of(root: Path) -> HostView:
    return read_host(Tree(root), Absent("files alone"))


@pytest.mark.parametrize("machine", MACHINES)
def test_a_report_reads_back_as_it_was(shared_machine: Machines, machine: str) -> None:
    view = view_of(shared_machine(machine))
    assert read_report(write_report(view)) == view


def change(report: dict[str, Any], path: str, value: object) -> str:
    """The report as text, with another value at the path."""
    *above, last = path.split(".")
    part: Any = report
    for step in above:
        part = part[int(step) if step.isdecimal() else step]
    part[int(last) if last.isdecimal() else last] = value
    return json.dumps(report)


FABRIC = {"kind": "xgmi", "devices": [], "available": False, "because": "none"}
HOSTILE: dict[str, tuple[str, object]] = {
    "an escape sequence": ("host.name", "\x1b[2Jroot@trusted"),
    "a long name": ("host.name", "n" * 5_000),
    "an endless number": ("host.accelerators.0.memory_total_bytes", 10**4_000),
    "a negative size": ("host.accelerators.0.memory_total_bytes", -1),
    "no number": ("host.accelerators.0.device.power_w", float("nan")),
    "text for a number": ("host.accelerators.0.partition", "0"),
    "no fabric": ("host.fabrics", []),
    "a fabric twice": ("host.fabrics", [FABRIC] * len(KINDS)),
    "a device of another kind": (
        "host.fabrics.0.devices",
        [{"id": "h", "members": [], "links": 0, "links_down": 0}, {"address": "x"}],
    ),
    "no host": ("host", None),
    "a list of problems that is none": ("problems", "many"),
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_report_that_no_host_would_send_is_one_line(shared_machine: Machines, fault: str) -> None:
    report = json.loads(write_report(view_of(shared_machine("ualink"))))
    with pytest.raises(InvalidReportError) as raised:
        read_report(change(report, *HOSTILE[fault]))
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("text", ["", "{", "null", "[" * 100_000, '{"host": {}}', "\x00", "9" * 20_000])
def test_text_that_is_no_report_is_one_line(text: str) -> None:
    with pytest.raises(InvalidReportError) as raised:
        read_report(text)
    assert str(raised.value).isprintable()


def test_a_report_of_too_many_characters_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shotclock.placement.report.MOST_CHARACTERS", 10)
    with pytest.raises(InvalidReportError, match="has 11 characters"):
        read_report("x" * 11)


def test_hosts_that_share_no_fabric_are_different_roots() -> None:
    a, b = frozenset({"ualink p.1"}), frozenset({"ualink p.2", "cxl 7"})
    hosts = [("n1", a), ("n2", b), ("n3", a), ("n4", frozenset[str]()), ("n5", frozenset({"cxl 7"}))]
    roots = find_roots(hosts, [Endpoint("qpu", frozenset({"cxl 7"})), Endpoint("far")])
    assert roots == (
        Root(("cxl 7", "ualink p.2"), ("n2", "n5"), ("qpu",)),
        Root(("ualink p.1",), ("n1", "n3"), ()),
        Root((), ("n4",), ()),
    )


def test_the_rack_is_the_sites_label_then_the_pod_then_the_block(shared_machine: Machines) -> None:
    slurm = {"SLURM_TOPOLOGY_ADDR": "b8.tux1", "SLURM_TOPOLOGY_ADDR_PATTERN": "block.node"}
    ports: Any = view_of(shared_machine("ualink")).host.fabric("ualink").devices
    assert find_rack(ports, "row-7", slurm) == Rack("row-7", "label")
    assert find_rack(ports, "", slurm) == Rack(POD, "ppod_id")
    assert find_rack((), "", slurm) == Rack("b8", "slurm-block")
    switches = {"SLURM_TOPOLOGY_ADDR": "s0.s1.tux1", "SLURM_TOPOLOGY_ADDR_PATTERN": "switch.switch.node"}
    for environment in ({}, switches, {"SLURM_TOPOLOGY_ADDR_PATTERN": "block.node"}):
        assert isinstance(find_rack((), "", environment), Absent)
    other = replace(ports[0], ppod_id="another")
    assert isinstance(find_rack((*ports, other), "", slurm), Absent)


def test_several_trees_are_one_graph(shared_machine: Machines) -> None:
    words = [word for machine in MACHINES for word in ("--root", str(shared_machine(machine)))]
    document = json.loads(run(*words, "--json"))
    names = [host["name"] for host in document["hosts"]]
    assert names == ["mi300x-spx", "mi300x-cpx", "ualink-tray", "cxl-612", "cxl-61", "rdma-host", "bare-cpu"]
    assert document["roots"][0] == {
        "fabrics": [f"ualink {POD}.2"],
        "hosts": ["ualink-tray"],
        "endpoints": [],
    }
    assert [host["rack"] for host in document["hosts"] if "rack" in host] == [
        {"name": POD, "source": "ppod_id"}
    ]
    # the most free memory: the tray's four devices of 432 GiB against eight of 192
    assert document["choice"]["host"] == "ualink-tray"
    assert all("age_s" in host["absent"] for host in document["hosts"])
    assert [edge["host"] for edge in document["edges"]] == names
    # both machines with MI300X devices say the same UUIDs
    assert any("GPU-2251a0b0c0d0e000 is reported" in problem for problem in document["problems"])
    assert "null" not in json.dumps(document)


def test_hosts_of_one_name_are_told_apart(tmp_path: Path, shared_machine: Machines) -> None:
    twin = build("cxl", tmp_path / "twin")
    document = json.loads(run("--root", str(shared_machine("cxl")), "--root", str(twin), "--json"))
    names = [host["name"] for host in document["hosts"]]
    assert names == [f"cxl-612 ({shared_machine('cxl')})", f"cxl-612 ({twin})"]
    assert [edge["host"] for edge in document["edges"]] == names
    assert sum("2 hosts say that their name is cxl-612" in line for line in document["problems"]) == 2


def test_a_tree_named_twice_and_a_mix_of_sources_are_refused(shared_machine: Machines) -> None:
    root = str(shared_machine("cpu"))
    with pytest.raises(SettingsError, match="each must be named once"):
        run("--root", root, "--root", root)
    with pytest.raises(SettingsError, match="leave one of the two out"):
        run("--root", root, "--hosts", "127.0.0.1:1")
    with pytest.raises(SettingsError, match="at least one HOST:PORT"):
        run("--hosts", " , ")


def test_several_trees_are_exported_for_slurm_with_a_root_for_each_rack(
    tmp_path: Path, shared_machine: Machines
) -> None:
    words = [
        word for machine in ("ualink", "cpu", "rdma") for word in ("--root", str(shared_machine(machine)))
    ]
    run(*words, "export", str(tmp_path / "out"))
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["slurm-node.conf", "topology.yaml"]
    (network,) = yaml.safe_load((tmp_path / "out/topology.yaml").read_text())
    assert network["tree"]["switches"] == [
        {"switch": f"rack-{POD}", "nodes": "ualink-tray"},
        {"switch": "rack-unknown", "nodes": "bare-cpu,rdma-host"},
    ]
    lines = (tmp_path / "out/slurm-node.conf").read_text().splitlines()
    assert [line.split()[0] for line in lines] == [
        *("NodeName=ualink-tray", "NodeName=bare-cpu", "NodeName=rdma-host")
    ]


SVG = "{http://www.w3.org/2000/svg}"


def test_the_picture_of_all_machines_is_within_its_frame_and_says_what_it_shows(
    tmp_path: Path, shared_machine: Machines
) -> None:
    file = tmp_path / "graph.svg"
    words = [word for machine in MACHINES for word in ("--root", str(shared_machine(machine)))]
    run(*words, "--svg", str(file))
    picture = ElementTree.parse(file).getroot()
    assert picture.get("role") == "img"
    assert picture.findtext(f"{SVG}title") == "7 hosts, 14 accelerators"
    assert "ualink-tray" in (picture.findtext(f"{SVG}desc") or "")
    height = int(picture.attrib["height"])
    for each in picture.iter(f"{SVG}rect"):
        x, y, wide, high = (int(each.attrib[name]) for name in ("x", "y", "width", "height"))
        assert x >= 0
        assert x + wide <= WIDTH
        assert y >= 0
        assert y + high <= height
    shown = {"".join(text.itertext()) for text in picture.iter(f"{SVG}text")}
    assert {"mi300x-spx", "bare-cpu", "no accelerator", "EMULATED", "chosen"} <= shown
    # of a fabric that fills two lines nothing is cut off
    assert {"16 accelerators in 1 hive, 240 link ends", "enabled"} <= shown


def test_a_hostile_name_is_text_in_the_picture(tmp_path: Path) -> None:
    root = build("cpu", tmp_path / "tree")
    (root / "proc/sys/kernel/hostname").write_text('</text><script>"&\n')
    drawn = draw(read_view(Settings(), [root]).topology)
    assert ElementTree.fromstring(drawn).find(f".//{SVG}script") is None
    assert "&lt;script" in drawn
