"""Figures of accelerators, fabrics and components, from this host to a service's metrics."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import cache, partial
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from shotclock.app.topology import read_acknowledged
from shotclock.placement.figures.families import VersionChanges
from shotclock.placement.figures.sampler import Sampler
from shotclock.placement.topology import Host, ask_torch, read_host
from shotclock.placement.tree import Tree
from shotclock.settings import Settings
from shotclock.telemetry.host_figures import HostFigures


def start_figures(
    settings: Settings, registry: CollectorRegistry, root: Path = Path("/")
) -> Callable[[], Coroutine[Any, Any, None]]:
    """Samples what `placement.metrics` names, and registers it; returns what stops that."""
    placement = settings.placement
    if not placement.metrics:
        return _stop_nothing
    tree = Tree(root)
    record = read_acknowledged(settings)

    totals = cache(partial(ask_torch, tree))  # sizes do not change

    def read() -> Host:
        return read_host(tree, totals=totals()).host

    changes = VersionChanges(dict(record.versions) if record else {})
    sampler = Sampler(read, placement.sample_s, placement.metrics, changes)
    registry.register(HostFigures(sampler.families))
    sampler.start()

    async def stop() -> None:
        sampler.close()

    return stop


async def _stop_nothing() -> None:
    """Where nothing is sampled."""
