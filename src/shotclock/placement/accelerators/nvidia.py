"""An NVIDIA device by what sysfs and its driver's /proc files say; its memory is known to torch alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from shotclock.placement.accelerators import torch_probe
from shotclock.placement.accelerators.amdgpu import read_driver_name
from shotclock.placement.accelerators.child import parse_document, run_script
from shotclock.placement.accelerators.pci import PciFunction
from shotclock.placement.accelerators.record import Accelerator, Device
from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent, Text, or_else, parse_text

INFORMATION = "proc/driver/nvidia/gpus"
BY_TORCH = Absent("only torch knows it, and discovery does not initialise CUDA")
USED = Absent("reading it would make a CUDA context on the device")
TORCH_WAIT_S = 60.0
"""For the import and the driver's initialisation."""


def read_device(tree: Tree, function: PciFunction) -> Device:
    """The function's identity."""
    facts = _read_information(tree, function.address)
    return Device(
        address=function.address,
        vendor=function.vendor,
        name=_pick(facts, "Model"),
        uuid=_pick(facts, "GPU UUID"),
        card=function.card,
        driver=read_driver_name(tree, function.path),
        numa_node=tree.integer(f"{function.path}/numa_node"),
        memory_total_bytes=BY_TORCH,
        memory_used_bytes=USED,
        vbios=_pick(facts, "Video BIOS"),
    )


def _read_information(tree: Tree, address: str) -> dict[str, str] | Absent:
    text = tree.content(f"{INFORMATION}/{address}/information")
    if isinstance(text, Absent):
        return text
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def _pick(facts: dict[str, str] | Absent, name: str) -> Text:
    if isinstance(facts, Absent):
        return facts
    value = parse_text(facts.get(name, ""))
    return Absent(f"the driver does not report {name}") if "?" in or_else(value, "?") else value


def ask_torch(wait_s: float = TORCH_WAIT_S) -> dict[str, int] | Absent:
    """Bytes of HBM by UUID, asked in a child process: CUDA is not initialised in this one."""
    output = run_script(Path(torch_probe.__file__), "torch", wait_s)
    if isinstance(output, Absent):
        return output
    document = parse_document(output, "torch")
    if isinstance(document, Absent):
        return document
    pairs = ((device.get("uuid"), device.get("total_bytes")) for device in document["devices"])
    return {str(uuid): total for uuid, total in pairs if isinstance(total, int)}


def join(accelerators: Sequence[Accelerator], totals: Mapping[str, int] | Absent) -> tuple[Accelerator, ...]:
    """With the sizes that torch reported."""
    return tuple(_join(each, totals) if each.device.vendor == "NVIDIA" else each for each in accelerators)


def _join(accelerator: Accelerator, totals: Mapping[str, int] | Absent) -> Accelerator:
    if isinstance(totals, Absent):
        total: int | Absent = totals
    else:
        hidden = Absent("torch does not see the device; CUDA_VISIBLE_DEVICES may hide it")
        total = totals.get(or_else(accelerator.device.uuid, ""), hidden)
    device = replace(accelerator.device, memory_total_bytes=total)
    return replace(accelerator, memory_total_bytes=total, device=device)
