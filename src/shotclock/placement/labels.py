"""A host's placement facts in the vocabularies of Ray, Kubernetes and Slurm; what is unknown has no label."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from shotclock.domain.errors import MachineError
from shotclock.placement.fabrics.ualink import UALink
from shotclock.placement.topology import Host
from shotclock.placement.values import Absent

MaskReader = Literal["programs", "ray"]
"""Who reads a visibility mask: programs without a scheduler, or `ray start`."""

PREFIX = "shotclock/"
QPU_RESOURCE = "qpu"
"""In Slurm."""
RAY_QPU_RESOURCE = "qpu_slot"
"""In Ray; a benchmark's replicate reserves it."""
LONGEST_VALUE = 63
"""Of a label in Kubernetes, and in Ray, which takes the same form."""
GIB = 1 << 30


def list_labels(host: Host, endpoint: str = "") -> dict[str, str]:
    """Label → value, for Ray and Kubernetes. endpoint: the name of the QPU that the host reaches."""
    names = Counter(device.name for device in host.devices if isinstance(device.name, str))
    sizes = [device.memory_total_bytes for device in host.devices]
    modes = {device.compute_partition for device in host.devices}
    domains, _ = find_pods(host)
    figures: dict[str, str | None] = {
        "accelerators": str(len(host.accelerators)) if host.accelerators else None,
        "accelerator": names.most_common(1)[0][0] if len(names) == 1 else None,
        "accelerator-memory-gib": _sum_gib(sizes),
        "compute-partition": _only(modes),
        "ualink": _only(domains),
        "rack": None if isinstance(host.rack, Absent) else host.rack.name,
        "qpu": endpoint or None,
        **{f"fabric-{fabric.kind}": "true" for fabric in host.fabrics if fabric.available},
    }
    return {
        PREFIX + key: _clean(value) for key, value in figures.items() if value is not None and _clean(value)
    }


def write_ray(labels: Mapping[str, str], qpu_slots: int) -> dict[str, str]:
    """File → content: `ray start --labels-file=…` takes the one, `--resources="$(cat …)"` the other.

    No visibility mask is written: Ray sets that of each worker (`write_mask` has one for Ray itself).
    """
    resources = {RAY_QPU_RESOURCE: qpu_slots} if PREFIX + "qpu" in labels else {}
    lines = [f"{key}: {json.dumps(value)}" for key, value in sorted(labels.items())]
    return {"ray-labels.yaml": "\n".join([*lines, ""]), "ray-resources.json": json.dumps(resources) + "\n"}


MASKS: dict[MaskReader, dict[str, str]] = {
    "programs": {"AMD": "ROCR_VISIBLE_DEVICES", "NVIDIA": "CUDA_VISIBLE_DEVICES"},
    "ray": {"AMD": "HIP_VISIBLE_DEVICES", "NVIDIA": "CUDA_VISIBLE_DEVICES"},
}
"""One variable for each vendor: HIP_VISIBLE_DEVICES counts within what ROCR_VISIBLE_DEVICES leaves.

ROCr's is AMD's recommendation on Linux. Ray refuses it alone, and divides HIP's among its workers entry by
entry, UUIDs too: ray/_private/accelerators/amd_gpu.py.
"""


def write_mask(host: Host, reader: MaskReader) -> dict[str, str]:
    """File → content: an environment file that makes all devices visible, by UUID, as numbers may change.

    Raises MachineError where a device reports no UUID.
    """
    uuids: dict[str, list[str]] = {}
    for device in host.devices:
        if isinstance(device.uuid, Absent):
            raise MachineError(
                f"{device.address}: reports no UUID ({device.uuid.because}), and a mask by number may name "
                f"another device after a reboot; leave the mask out"
            )
        uuids.setdefault(device.vendor, []).append(device.uuid)
    lines = [f"{MASKS[reader][vendor]}={','.join(listed)}" for vendor, listed in sorted(uuids.items())]
    return {"visible-devices.env": "\n".join([*lines, ""])}


def write_kubernetes(labels: Mapping[str, str]) -> dict[str, str]:
    """File → content: `kubectl patch node NAME --patch-file …` takes it."""
    patch = {"metadata": {"labels": dict(sorted(labels.items()))}}
    return {"kubernetes-node.json": json.dumps(patch, indent=2) + "\n"}


def write_slurm(labels_of: Mapping[str, Mapping[str, str]], qpu_slots: int) -> dict[str, str]:
    """File → content: a line of slurm.conf a host, and topology.yaml with a disjoint root for each rack.

    labels_of: host name → its labels.
    """
    racks: dict[str, list[str]] = {}
    for name, labels in labels_of.items():
        racks.setdefault(labels.get(PREFIX + "rack", "unknown"), []).append(name)
    lines = [_write_node(name, labels, qpu_slots) for name, labels in labels_of.items()]
    return {"slurm-node.conf": "\n".join([*lines, ""]), "topology.yaml": write_tree(racks)}


def _write_node(name: str, labels: Mapping[str, str], qpu_slots: int) -> str:
    skipped = {PREFIX + "accelerators", PREFIX + "accelerator-memory-gib"}
    features = [
        re.sub(r"[^A-Za-z0-9_.-]", "-", f"{key.removeprefix(PREFIX)}-{value}")
        for key, value in sorted(labels.items())
        if key not in skipped
    ]
    words = [f"NodeName={_clean(name)}"]
    words += [f"Feature={','.join(features)}"] if features else []
    words += [f"Gres={QPU_RESOURCE}:{qpu_slots}"] if PREFIX + "qpu" in labels else []
    return " ".join(words)


def write_tree(hosts_of: Mapping[str, Sequence[str]]) -> str:
    """Slurm's topology.yaml: each rack is a switch without a parent, as nothing is known to join them."""
    lines = ["- topology: shotclock", "  cluster_default: true", "  tree:", "    switches:"]
    for rack, hosts in sorted(hosts_of.items()):
        lines += [
            f"      - switch: {_clean('rack-' + rack)}",
            f"        nodes: {','.join(sorted(map(_clean, hosts)))}",
        ]
    return "\n".join([*lines, ""])


def find_pods(host: Host) -> tuple[set[str], set[str]]:
    """The virtual pods, POD.NUMBER, and the physical pods of its UALink ports; vpod 0 means none."""
    domains, pods = set(), set()
    for port in host.fabric("ualink").devices:
        if isinstance(port, UALink) and isinstance(port.ppod_id, str):
            pods.add(port.ppod_id)
            if isinstance(port.vpod_id, int) and port.vpod_id:
                domains.add(f"{port.ppod_id}.{port.vpod_id}")
    return domains, pods


def list_domains(host: Host) -> frozenset[str]:
    """The identities of the fabric domains that its drivers tell."""
    domains, _ = find_pods(host)
    return frozenset(f"ualink {domain}" for domain in domains)


def _sum_gib(sizes: Sequence[int | Absent]) -> str | None:
    known = [size for size in sizes if not isinstance(size, Absent)]
    return str(sum(known) // GIB) if known and len(known) == len(sizes) else None


def _only(values: set[str] | set[str | Absent]) -> str | None:
    """The value, where there is one and it is known."""
    texts = {value for value in values if isinstance(value, str)}
    return next(iter(texts)) if len(texts) == 1 == len(values) else None


def _clean(value: str) -> str:
    """In the form of a label's value."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", value)[:LONGEST_VALUE].strip("-_.")
