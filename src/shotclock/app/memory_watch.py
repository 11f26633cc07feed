"""The bound that free memory sets on calls in flight, kept current beside training or a service."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

from shotclock.domain.memory import BlockingPoint, CallSize, MemoryLimit, find_blocking_point
from shotclock.placement.accelerators.discover import read_accelerators
from shotclock.placement.accelerators.record import Accelerator
from shotclock.placement.accelerators.visible import select_visible
from shotclock.placement.memory import find_allowed
from shotclock.placement.tree import Tree
from shotclock.settings import Settings

MIB = 2**20
FITTED_SHOTS = 1_024
"""Assumed of calls whose shots are fitted to their budget."""


class MemoryWatch:
    """`observe` reads once; `start` reads every `placement.sample_s` until `close`; `limit` never waits."""

    def __init__(self, settings: Settings) -> None:
        placement, shots = settings.placement, settings.quantum.shots
        self._tree = Tree(Path(placement.root))
        self._share = placement.memory_share
        self._pinned_bytes = placement.pinned_mib * MIB
        self._every_s = placement.sample_s
        self._size = CallSize.of(settings.kernel.n, FITTED_SHOTS if shots == "fit" else shots)
        self._closing = threading.Event()
        self.point: BlockingPoint | None = None
        self.limit = MemoryLimit(lambda: self.point, placement.on_memory_full)

    def start(self) -> None:
        """Reads now, then in a thread."""
        self.read()
        threading.Thread(target=self._run, name="free memory", daemon=True).start()

    def observe(self, accelerators: Sequence[Accelerator]) -> None:
        """A new reading of the host's accelerators, always from one thread."""
        visible = select_visible(accelerators, os.environ)
        allowed = find_allowed(self._tree, visible, self._share, self._pinned_bytes)
        self.point = find_blocking_point(self._size, allowed)

    def close(self) -> None:
        """Ends the thread; a reading in progress is not waited for."""
        self._closing.set()

    def _run(self) -> None:
        while not self._closing.wait(self._every_s):
            self.read()

    def read(self) -> None:
        """Reads once."""
        self._tree.begin_pass()
        self.observe(read_accelerators(self._tree))


def find_point(settings: Settings) -> BlockingPoint | None:
    """The blocking point of this instant."""
    watch = MemoryWatch(settings)
    watch.read()
    return watch.point
