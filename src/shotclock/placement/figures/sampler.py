"""Reads the host in a background thread, so that neither a scrape nor a call ever waits for a driver."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

from shotclock.domain.host_figures import Family
from shotclock.placement.figures.families import VersionChanges, list_families
from shotclock.placement.figures.totals import Totals
from shotclock.placement.topology import HostView

STALE_PERIODS = 3
"""A sample older than this many periods is not exported: it would be taken for the present."""


def ignore(view: HostView) -> None:
    """Where only figures are exported."""
    del view


class Sampler:
    """`start`, then `families` at any time from any thread, then `close`.

    read: the host, in however long it takes.
    observe: receives every reading, in the sampler's thread.
    every_s: from the end of one reading to the next.
    groups: of figures, as in the settings.
    changes: counts the components' changes.
    clock: seconds.
    """

    def __init__(
        self,
        read: Callable[[], HostView],
        every_s: float,
        groups: Collection[str],
        changes: VersionChanges,
        clock: Callable[[], float] = time.monotonic,
        observe: Callable[[HostView], None] = ignore,
    ) -> None:
        self._read = read
        self._every_s = every_s
        self._groups = groups
        self._changes = changes
        self._clock = clock
        self._observe = observe
        self._totals = Totals()
        self._stopping = threading.Event()
        self._empty = list_families(None, groups, Totals(), VersionChanges({}))
        self._last: tuple[float, tuple[Family, ...]] | None = None
        self._thread = threading.Thread(target=self._run, name="host figures", daemon=True)

    def start(self) -> None:
        """Samples until `close`."""
        self._thread.start()

    def close(self) -> None:
        """Stops; a reading in progress is not waited for."""
        self._stopping.set()

    def sample(self) -> None:
        """Reads once."""
        view = self._read()
        self._changes.observe(view.host.components)
        families = list_families(view.host, self._groups, self._totals, self._changes)
        self._last = self._clock(), families
        self._observe(view)

    def families(self) -> tuple[Family, ...]:
        """The last sample's, and its age; empty ones before the first and once it is stale."""
        last = self._last
        if last is None:
            return (_measure_age(()), *self._empty)
        age_s = self._clock() - last[0]
        families = last[1] if age_s <= STALE_PERIODS * self._every_s else self._empty
        return (_measure_age((((), age_s),)), *families)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.sample()
            self._stopping.wait(self._every_s)


def _measure_age(samples: tuple[tuple[tuple[str, ...], float], ...]) -> Family:
    return Family(
        "shotclock_topology_age_seconds",
        "Since the host's figures were read; they are left out once it exceeds three periods.",
        "gauge",
        (),
        samples,
    )
