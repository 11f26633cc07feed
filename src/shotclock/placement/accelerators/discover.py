"""The accelerators of a tree. torch.cuda is never initialised, which would break Ray's allocation.

https://github.com/vllm-project/vllm/issues/33938
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from shotclock.placement.accelerators import amdgpu, nvidia
from shotclock.placement.accelerators.kfd import Node, read_nodes
from shotclock.placement.accelerators.pci import list_functions
from shotclock.placement.accelerators.record import Accelerator, Device
from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent, is_known, or_else, prefer

OF_DEVICE = Absent("the driver counts it for the whole device, not for a partition")


def read_devices(tree: Tree) -> tuple[Device, ...]:
    """The PCI functions, by address."""
    readers = {"AMD": amdgpu.read_device, "NVIDIA": nvidia.read_device}
    return tuple(readers[function.vendor](tree, function) for function in list_functions(tree))


def read_accelerators(tree: Tree) -> tuple[Accelerator, ...]:
    """Devices and their partitions, by PCI address and partition."""
    return partition(tree, read_devices(tree))


def partition(tree: Tree, devices: tuple[Device, ...]) -> tuple[Accelerator, ...]:
    """What a process can be placed on, of these devices."""
    nodes = read_nodes(tree, [device.address for device in devices if device.vendor == "AMD"])
    counts = Counter(node.address for node in nodes)
    ids = {node.number: _identify(node.address, node.partition, counts) for node in nodes}
    accelerators = []
    for device in devices:
        of_device = sorted((node for node in nodes if node.address == device.address), key=_by_partition)
        if of_device:
            accelerators += [_join(device, node, ids, len(of_device) > 1) for node in of_device]
        else:
            accelerators.append(_whole(device))
    return tuple(accelerators)


def _by_partition(node: Node) -> int:
    return node.partition


def _identify(address: str, number: int, counts: Counter[str]) -> str:
    return f"{address}/{number}" if counts[address] > 1 else address


def _whole(device: Device) -> Accelerator:
    """A device that KFD does not list: another vendor's, or a driver without compute."""
    unlisted = Absent("KFD does not list the device")
    return Accelerator(
        id=or_else(device.uuid, f"pci:{device.address}"),
        partition=0,
        memory_total_bytes=device.memory_total_bytes,
        memory_used_bytes=device.memory_used_bytes,
        hive=unlisted,
        links=unlisted,
        device=device,
    )


def _join(device: Device, node: Node, ids: dict[str, str], is_partition: bool) -> Accelerator:
    uuid = prefer(device.uuid, node.uuid)
    name = or_else(uuid, f"pci:{device.address}")
    links = tuple(replace(link, to=ids.get(link.to, f"node {link.to}")) for link in node.links)
    total, used = device.memory_total_bytes, device.memory_used_bytes
    return Accelerator(
        id=f"{name}/{node.partition}" if is_partition else name,
        partition=node.partition,
        memory_total_bytes=node.memory_bytes if is_partition else prefer(total, node.memory_bytes),
        memory_used_bytes=OF_DEVICE if is_partition else used,
        hive=node.hive,
        links=links,
        device=device if is_known(device.uuid) else replace(device, uuid=uuid),
    )
