"""XGMI: groups of accelerators that reach each other's memory, from KFD's hives and links."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shotclock.placement.accelerators.record import Accelerator
from shotclock.placement.values import Absent, or_else


@dataclass(frozen=True, slots=True)
class Hive:
    """Accelerators with a common hive.

    id: the kernel's number of it
    members: ids of the accelerators
    links: links that the driver enabled, each counted from both ends
    links_down: links that it did not enable
    """

    id: str
    members: tuple[str, ...]
    links: int
    links_down: int


def group(accelerators: Sequence[Accelerator]) -> tuple[Hive, ...]:
    """The hives of these accelerators; an accelerator without links is in none."""
    by_hive: dict[str, list[Accelerator]] = {}
    for accelerator in accelerators:
        if not isinstance(accelerator.hive, Absent) and or_else(accelerator.links, ()):
            by_hive.setdefault(accelerator.hive, []).append(accelerator)
    return tuple(_summarise(name, members) for name, members in sorted(by_hive.items()))


def _summarise(name: str, members: list[Accelerator]) -> Hive:
    states = [link.is_up for member in members for link in or_else(member.links, ())]
    return Hive(name, tuple(member.id for member in members), states.count(True), states.count(False))
