"""Several circuits at several points each, answered together: what one call of a Qiskit primitive needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from shotclock.domain.accounting import HERE, Origin
from shotclock.domain.circuit import MOST_SHOTS
from shotclock.domain.errors import CircuitError
from shotclock.domain.outcome import CircuitOutcome
from shotclock.domain.subproblem import Float64s, Priority
from shotclock.domain.trace_context import TraceContext

MOST_CIRCUITS = 256
MOST_POINTS = 16_384
MOST_BYTES = 3 * 1024 * 1024
"""The most of one batch: circuits, points of all circuits together, bytes of sources, names and values."""

Deliver: TypeAlias = Callable[[int, CircuitOutcome], None]
"""Takes the outcome of the point of this index; points count through the batch, circuit by circuit."""


@dataclass(frozen=True, slots=True, eq=False)
class CircuitPoints:
    """One circuit and the points of its parameters at which it runs.

    source: OpenQASM 3 as text or QPY as bytes, with its parameters.
    shots: of each point, 1 or more.
    names: the parameters' names, the columns of `points`.
    points: the values, shape (points, names), one point or more; (1, 0) without parameters.

    Raises CircuitError naming the field that cannot be used.
    """

    source: str | bytes
    shots: int
    names: tuple[str, ...]
    points: Float64s

    def __post_init__(self) -> None:
        if not self.source:
            raise CircuitError("source", "is empty; pass OpenQASM 3 as text or QPY as bytes")
        if self.shots < 1:
            raise CircuitError("shots", f"must be at least 1 (got {self.shots})")
        if self.shots > MOST_SHOTS:
            raise CircuitError("shots", f"must be at most {MOST_SHOTS:,} (got {self.shots:,})")
        if self.points.ndim != 2 or not len(self.points) or self.points.shape[1] != len(self.names):
            raise CircuitError(
                "points", f"must have the shape (points, {len(self.names)}) (got {self.points.shape})"
            )
        if len(set(self.names)) != len(self.names):
            raise CircuitError("names", "must differ from each other")
        if not np.isfinite(self.points).all():
            row, column = np.argwhere(~np.isfinite(self.points))[0]
            raise CircuitError(
                f"values.{self.names[column]}", f"must be a finite number (got {self.points[row, column]})"
            )

    @property
    def size(self) -> int:
        """Bytes of the source, the names and the values."""
        source = self.source.encode() if isinstance(self.source, str) else self.source
        return len(source) + sum(len(name.encode()) + 4 for name in self.names) + self.points.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class CircuitBatch:
    """Circuits that are answered by one deadline.

    circuits: one or more, each with its points.
    request_id: the caller's name for this request.
    budget_ns: what is left of the deadline when this object is handed over, nanoseconds, 0 or more.
    priority: which of a caller's calls is served first.
    caller: who asks, by the name in its certificate; the wire sets it, "" is this process itself.
    trace: the span that the call is part of; None without traces.
    origin: which allocation of a batch system it comes from, and whether it was sent elsewhere before.
    answered: points that were answered before it was sent again; they get no outcome.

    Raises CircuitError where it has more than a request may.
    """

    circuits: tuple[CircuitPoints, ...]
    request_id: str = ""
    budget_ns: int = 0
    priority: Priority = Priority.NORMAL
    caller: str = ""
    trace: TraceContext | None = None
    origin: Origin = HERE
    answered: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        for field, amount, most in (
            ("circuits", len(self.circuits), MOST_CIRCUITS),
            ("points", self.points, MOST_POINTS),
            ("bytes", self.size, MOST_BYTES),
        ):
            if amount > most:
                raise CircuitError(
                    f"batch.{field}", f"must be at most {most:,} (got {amount:,}); send several batches"
                )
        if self.answered and max(self.answered) >= self.points:
            raise CircuitError("batch.answered", f"must be below {self.points} (got {max(self.answered)})")
        if not self.circuits:
            raise CircuitError("batch.circuits", "must be at least 1 (got 0)")
        if self.budget_ns < 0:
            raise CircuitError("budget_ns", f"must be at least 0 (got {self.budget_ns})")

    @property
    def points(self) -> int:
        """Points of all circuits."""
        return sum(len(circuit.points) for circuit in self.circuits)

    def deliver_unanswered(self, deliver: Deliver) -> Deliver:
        """`deliver` for the points that are not answered yet; of the others nothing is delivered."""
        return lambda index, outcome: None if index in self.answered else deliver(index, outcome)

    @property
    def size(self) -> int:
        """Bytes of all circuits."""
        return sum(circuit.size for circuit in self.circuits)
