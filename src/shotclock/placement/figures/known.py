"""Samples of what is known."""

from __future__ import annotations

from collections.abc import Iterable

from shotclock.domain.host_figures import Labels
from shotclock.placement.values import Absent


def keep_known(samples: Iterable[tuple[Labels, int | float | Absent]]) -> tuple[tuple[Labels, float], ...]:
    """Without those whose value is not known."""
    return tuple((labels, float(value)) for labels, value in samples if not isinstance(value, Absent))
