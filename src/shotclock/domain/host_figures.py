"""Figures of a host, from whoever reads them to whoever exports them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """A metric with its samples.

    name: as Prometheus has it; a counter's ends in _total
    help: one sentence
    kind: a counter only grows, also across a driver's reload
    labels: their names
    samples: values by the labels' values; what is not known has no sample
    """

    name: str
    help: str
    kind: Literal["counter", "gauge"]
    labels: Labels
    samples: tuple[tuple[Labels, float], ...] = ()
