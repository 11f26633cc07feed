"""Collects the circuits of one call and cuts them into batches; equal circuits are sent once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from shotclock.domain.circuit_batch import MOST_BYTES, MOST_CIRCUITS, MOST_POINTS, CircuitPoints
from shotclock.domain.outcome import CircuitOutcome
from shotclock.domain.subproblem import Float64s

Place = tuple[int, int]
"""Where a point is: its circuit's number and its row."""


@dataclass(slots=True)
class _Entry:
    """One circuit with the points collected for it.

    source: the circuit as QPY.
    shots: of each point.
    names: its parameters.
    points: arrays of rows.
    count: rows of all of them.
    """

    source: bytes
    shots: int
    names: tuple[str, ...]
    points: list[Float64s] = field(default_factory=list)
    count: int = 0


class Request:
    """The circuits and points of one call of a primitive, in the order in which they were added."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._numbers: dict[tuple[bytes, int, tuple[str, ...]], int] = {}

    def add(self, source: bytes, shots: int, names: tuple[str, ...], points: Float64s) -> list[Place]:
        """Adds points of a circuit; where each one's outcome will be."""
        number = self._numbers.setdefault((source, shots, names), len(self._entries))
        if number == len(self._entries):
            self._entries.append(_Entry(source, shots, names))
        entry = self._entries[number]
        places = [(number, row) for row in range(entry.count, entry.count + len(points))]
        entry.points.append(points)
        entry.count += len(points)
        return places

    def batches(self) -> Iterator[tuple[CircuitPoints, ...]]:
        """The circuits in as few batches as their limits allow, in order."""
        batch: list[CircuitPoints] = []
        points = size = 0
        for circuit in self._pieces():
            most = (
                len(batch) < MOST_CIRCUITS
                and points + len(circuit.points) <= MOST_POINTS
                and size + circuit.size <= MOST_BYTES
            )
            if batch and not most:
                yield tuple(batch)
                batch, points, size = [], 0, 0
            batch.append(circuit)
            points, size = points + len(circuit.points), size + circuit.size
        if batch:
            yield tuple(batch)

    def arrange(self, outcomes: Sequence[CircuitOutcome]) -> dict[Place, CircuitOutcome]:
        """The outcomes of all batches, one after the other, by their places."""
        places = [(number, row) for number, entry in enumerate(self._entries) for row in range(entry.count)]
        return dict(zip(places, outcomes, strict=True))

    def _pieces(self) -> Iterator[CircuitPoints]:
        """Each circuit, in several pieces where its points alone are more than a batch may have."""
        for entry in self._entries:
            if not entry.count:
                continue
            points = np.concatenate(entry.points)
            row_bytes = max(1, points[0].nbytes)
            rows = max(1, min(MOST_POINTS, MOST_BYTES // 2 // row_bytes))
            for first in range(0, len(points), rows):
                yield CircuitPoints(entry.source, entry.shots, entry.names, points[first : first + rows])
