"""One sampler of this host, for its placement report and its metrics."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import cache, partial
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from shotclock.app.host_health import FILES_ALONE
from shotclock.app.topology import read_acknowledged
from shotclock.placement.figures.families import VersionChanges
from shotclock.placement.figures.sampler import Sampler
from shotclock.placement.topology import HostView, ask_torch, read_host
from shotclock.placement.tree import Tree
from shotclock.settings import Settings
from shotclock.telemetry.host_figures import HostFigures


def start_sampler(
    settings: Settings,
    registry: CollectorRegistry,
    observe: Callable[[HostView], None],
    root: Path = Path("/"),
) -> Callable[[], Coroutine[Any, Any, None]]:
    """Reads the host every `placement.sample_s`, for placement and for what `placement.metrics` names.

    observe: receives every reading, in the sampler's thread.

    Returns what stops that.
    """
    placement = settings.placement
    tree = Tree(root)
    libraries = None if placement.metrics else FILES_ALONE
    record = read_acknowledged(settings) if placement.metrics else None
    totals = cache(partial(ask_torch, tree))  # sizes do not change

    def read() -> HostView:
        return read_host(tree, libraries, totals(), placement.rack)

    changes = VersionChanges(dict(record.versions) if record else {})
    sampler = Sampler(read, placement.sample_s, placement.metrics, changes, observe=observe)
    if placement.metrics:
        registry.register(HostFigures(sampler.families))
    sampler.start()

    async def stop() -> None:
        sampler.close()

    return stop
