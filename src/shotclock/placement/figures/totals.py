"""Counters that go on where a driver's begin again."""

from __future__ import annotations

from dataclasses import dataclass, field

from shotclock.domain.host_figures import Labels


@dataclass(slots=True)
class Totals:
    """Counters that only grow: a raw count below the last one began again at 0 (a driver was reloaded)."""

    _last: dict[tuple[str, Labels], float] = field(default_factory=dict)
    _before: dict[tuple[str, Labels], float] = field(default_factory=dict)

    def advance(self, name: str, labels: Labels, raw: float) -> float:
        """The total over all of the driver's lives that were sampled."""
        key = (name, labels)
        last = self._last.get(key, 0.0)
        if raw < last:
            self._before[key] = self._before.get(key, 0.0) + last
        self._last[key] = raw
        return self._before.get(key, 0.0) + raw
