"""Free memory of a host and of a process's accelerators, by what the kernel and the drivers tell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from shotclock.domain.memory import HBM, PINNED, RAM
from shotclock.placement.accelerators.record import Accelerator
from shotclock.placement.health import read_lock_limit
from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent, Integer

MEMINFO = "proc/meminfo"
CGROUP = "sys/fs/cgroup"
_AVAILABLE = re.compile(r"^MemAvailable:\s+(\d{1,15}) kB$", re.MULTILINE)


def read_available(tree: Tree) -> Integer:
    """Bytes of RAM that processes may still allocate, of the machine and of its cgroup (version 2)."""
    text = tree.content(MEMINFO)
    if isinstance(text, Absent):
        return text
    match = _AVAILABLE.search(text)
    if match is None:
        return Absent(f"/{MEMINFO}: has no MemAvailable")
    available = int(match[1]) * 1_024
    limit, current = tree.integer(f"{CGROUP}/memory.max"), tree.integer(f"{CGROUP}/memory.current")
    if isinstance(limit, Absent) or isinstance(current, Absent):  # "max", or the root cgroup
        return available
    return min(available, max(0, limit - current))


def find_least_free(accelerators: Sequence[Accelerator]) -> Integer:
    """Free HBM of the accelerator that has least: a call's tensors are on one of them."""
    free = []
    for each in accelerators:
        total, used = each.memory_total_bytes, each.memory_used_bytes
        if isinstance(total, Absent):
            return total
        if isinstance(used, Absent):
            return used
        free.append(max(0, total - used))
    return min(free) if free else Absent("this process has no accelerator")


def find_allowed(
    tree: Tree, accelerators: Sequence[Accelerator], share: float, pinned_bytes: int
) -> Mapping[str, int]:
    """Bytes that calls may take, by memory; what is not known is left out."""
    allowed = {}
    for memory, free in ((HBM, find_least_free(accelerators)), (RAM, read_available(tree))):
        if not isinstance(free, Absent):
            allowed[memory] = int(share * free)
    if accelerators:
        limit = read_lock_limit(tree)
        allowed[PINNED] = pinned_bytes if isinstance(limit, Absent) else min(pinned_bytes, limit)
    return allowed
