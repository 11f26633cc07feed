"""Placement facts for Ray, Kubernetes and Slurm, of machines that are shown by trees."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from shotclock.cli.topology import topology
from shotclock.domain.errors import MachineError, ShotclockError
from shotclock.placement.labels import write_tree
from topology_trees import build

KEY = re.compile(r"shotclock/[a-z0-9]([a-z0-9-]*[a-z0-9])?")
VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def export(machine: str, folder: Path, *words: str) -> Path:
    root = build(machine, folder / "tree")
    ran = CliRunner().invoke(topology, ["--root", str(root), "export", str(folder / "out"), *words])
    if ran.exception is not None:
        raise ran.exception
    assert len(ran.stdout.splitlines()) == 5
    return folder / "out"


def labels_of(folder: Path) -> dict[str, str]:
    labels: dict[str, str] = json.loads((folder / "kubernetes-node.json").read_text())["metadata"]["labels"]
    assert yaml.safe_load((folder / "ray-labels.yaml").read_text()) == labels or not labels
    for key, value in labels.items():
        assert KEY.fullmatch(key)
        assert VALUE.fullmatch(value)
    return labels


def test_eight_whole_accelerators_and_no_qpu(tmp_path: Path) -> None:
    out = export("mi300x-spx", tmp_path)
    labels = labels_of(out)
    assert labels["shotclock/accelerators"] == "8"
    assert labels["shotclock/compute-partition"] == "SPX"
    assert labels["shotclock/accelerator-memory-gib"] == "1535"  # eight of 191.98 GiB
    assert labels["shotclock/fabric-xgmi"] == "true"
    assert "shotclock/qpu" not in labels
    assert json.loads((out / "ray-resources.json").read_text()) == {}
    assert "Gres" not in (out / "slurm-node.conf").read_text()


def test_the_pod_of_ualink_is_the_rack_and_its_virtual_pod_a_label(tmp_path: Path) -> None:
    out = export("ualink", tmp_path)
    labels = labels_of(out)
    pod = "01020304-0506-0708-090A-0B0C0D0E0F10"
    assert labels["shotclock/rack"].lower() == pod.lower()
    assert labels["shotclock/ualink"].lower().startswith(pod.lower())
    (network,) = yaml.safe_load((out / "topology.yaml").read_text())
    (switch,) = network["tree"]["switches"]
    assert switch["switch"].lower() == f"rack-{pod}".lower()
    assert "children" not in switch


def test_a_host_of_cpus_says_its_rack_where_the_site_does_and_its_qpu(tmp_path: Path) -> None:
    settings = tmp_path / "site.toml"
    settings.write_text('schema = 1\n[placement]\nendpoint = "https://qpu.example.com/v1"\n')
    out = export("cpu", tmp_path, "--rack", "row 7/rack 3", "--qpu-slots", "5", "--config", str(settings))
    assert labels_of(out) == {"shotclock/qpu": "https-qpu.example.com-v1", "shotclock/rack": "row-7-rack-3"}
    assert json.loads((out / "ray-resources.json").read_text()) == {"qpu_slot": 5}
    line = (out / "slurm-node.conf").read_text()
    assert "Feature=qpu-https-qpu.example.com-v1,rack-row-7-rack-3" in line
    assert line.endswith("Gres=qpu:5\n")


def test_a_mask_names_uuids_once_and_only_where_it_is_asked_for(tmp_path: Path) -> None:
    plain = export("mi300x-cpx", tmp_path)
    assert not [file.name for file in plain.iterdir() if "VISIBLE" in file.read_text()]
    root = tmp_path / "tree"
    words = ["--root", str(root), "export", str(tmp_path / "masked"), "--mask"]
    assert CliRunner().invoke(topology, words).exception is None
    masked = [file for file in (tmp_path / "masked").iterdir() if "VISIBLE" in file.read_text()]
    assert [file.name for file in masked] == ["visible-devices.env"]
    # each device once, though it has eight partitions
    assert masked[0].read_text() == "ROCR_VISIBLE_DEVICES=GPU-2251a0b0c0d0e000,GPU-2251a0b0c0d0e001\n"
    for path in root.rglob("unique_id"):
        path.unlink()
    for path in root.rglob("properties"):
        path.write_text(re.sub("unique_id .*", "", path.read_text()))
    ran = CliRunner().invoke(topology, words)
    assert isinstance(ran.exception, MachineError)
    assert "0000:05:00.0: reports no UUID" in str(ran.exception)


FOUR_DEVICES = """
from types import SimpleNamespace
AmdSmiInitFlags, AmdSmiMemoryType = SimpleNamespace(INIT_AMD_GPUS=2), None
AmdSmiLibraryException = OSError
amdsmi_init = amdsmi_shut_down = lambda *flags: None
amdsmi_get_processor_handles = lambda: list(range(4))
amdsmi_get_gpu_id = lambda handle: 0x74A1
"""
"""What Ray calls of AMD's library."""

RAY_READS = """
import os
from ray._private.accelerators import get_accelerator_manager_for_resource
from ray._private.resource_and_label_spec import ResourceAndLabelSpec
spec = ResourceAndLabelSpec(1, None, 1, 1, {}, {})
print(spec.resolve(is_head=True, node_ip_address="127.0.0.1").num_gpus)
accelerators = get_accelerator_manager_for_resource("GPU")
before = accelerators.get_current_process_visible_accelerator_ids()
accelerators.set_current_process_visible_accelerator_ids(before[1:])
print(os.environ["HIP_VISIBLE_DEVICES"])
"""
"""Ray's own code on a host of four devices: what a node offers, then what a worker of its second one gets."""


def ask_ray(mask: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """With the mask in its environment."""
    (folder / "amdsmi.py").write_text(FOUR_DEVICES)
    variables = dict(line.split("=", 1) for line in mask.read_text().splitlines())
    environment = {name: value for name, value in os.environ.items() if "VISIBLE_DEVICES" not in name}
    environment |= {**variables, "PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", RAY_READS], env=environment, capture_output=True, text=True, check=False
    )


def test_ray_divides_the_mask_that_is_for_it_and_refuses_the_other(tmp_path: Path) -> None:
    root = build("mi300x-cpx", tmp_path / "tree")
    masks = {}
    for reader in ("ray", "programs"):
        words = ["--root", str(root), "export", str(tmp_path / reader), "--mask-for", reader]
        assert CliRunner().invoke(topology, words).exception is None
        masks[reader] = tmp_path / reader / "visible-devices.env"
    answer = ask_ray(masks["ray"], tmp_path)
    assert answer.stdout.split() == ["2", "GPU-2251a0b0c0d0e001"], answer.stderr
    refused = ask_ray(masks["programs"], tmp_path)
    assert refused.returncode != 0
    assert "Please use HIP_VISIBLE_DEVICES instead of ROCR_VISIBLE_DEVICES" in refused.stderr


def test_racks_are_disjoint_roots() -> None:
    (network,) = yaml.safe_load(write_tree({"b": ["n3"], "a": ["n2", "n1"]}))
    assert network["tree"]["switches"] == [
        {"switch": "rack-a", "nodes": "n1,n2"},
        {"switch": "rack-b", "nodes": "n3"},
    ]


def test_a_file_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(ShotclockError, match="out"):
        export("cpu", tmp_path)
