"""An NVIDIA device by what sysfs and its driver's /proc files say; memory is known to torch alone."""

from __future__ import annotations

from shotclock.placement.accelerators.amdgpu import read_driver_name
from shotclock.placement.accelerators.pci import PciFunction
from shotclock.placement.accelerators.record import Device
from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent, Text, or_else, parse_text

INFORMATION = "proc/driver/nvidia/gpus"
BY_TORCH = Absent("only torch knows it, and discovery does not initialise CUDA")


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
        memory_used_bytes=BY_TORCH,
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
