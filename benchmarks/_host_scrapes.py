"""What the figures of a host of eight MI300X cost: a scrape of them, and the readings behind it.

The tree of files is generated; reading real sysfs asks drivers and takes longer, in the same background
threads.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from shotclock.placement.figures.families import VersionChanges
from shotclock.placement.figures.reading import CallReader
from shotclock.placement.figures.sampler import Sampler
from shotclock.placement.topology import read_host
from shotclock.placement.tree import Tree
from shotclock.telemetry.exposition import Exposition
from shotclock.telemetry.host_figures import HostFigures

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from topology_trees import build

GROUPS = ("gpu", "fabric", "components")
READINGS = 10
PAUSE_S = 0.02


def measure_host(scrapes: int) -> dict[str, float]:
    """Scrapes while the host is read again and again, which is far more often than any setting allows."""
    with tempfile.TemporaryDirectory() as folder:
        root = build("mi300x-spx", Path(folder))
        tree = Tree(root)
        readings_s = _time(lambda: read_host(tree), READINGS)
        around_s = _time(CallReader(tree, {}).read, READINGS)
        sampler = Sampler(lambda: read_host(tree), 1.0, GROUPS, VersionChanges({}))
        registry = CollectorRegistry()
        registry.register(HostFigures(sampler.families))
        exposition, stop = Exposition(registry), threading.Event()
        thread = threading.Thread(target=_sample, args=(sampler, stop))
        sampler.sample()
        thread.start()
        try:
            scrapes_s = _time(lambda: exposition.write(""), scrapes)
            text, _ = exposition.write("")
        finally:
            stop.set()
            thread.join()
    return {
        "host_scrape_p50_ms": float(np.percentile(scrapes_s, 50)) * 1e3,
        "host_scrape_p99_ms": float(np.percentile(scrapes_s, 99)) * 1e3,
        "host_lines": text.count(b"\n"),
        "host_reading_p50_ms": float(np.percentile(readings_s, 50)) * 1e3,
        "call_reading_p50_ms": float(np.percentile(around_s, 50)) * 1e3,
    }


def _sample(sampler: Sampler, until: threading.Event) -> None:
    while not until.is_set():
        sampler.sample()


def _time(work: Callable[[], object], times: int) -> list[float]:
    walls = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        walls.append(time.perf_counter() - began)
        time.sleep(PAUSE_S)
    return walls
