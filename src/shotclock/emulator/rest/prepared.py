"""What the event loop knows of a program: plain figures, no circuits. Crosses between the processes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """One PUB, or one item of a quantum program, as it will be timed.

    shape: its sweep, without shots; duration_s: one execution, read-out included, reset not.
    """

    shape: tuple[int, ...]
    shots: int
    duration_s: float
    depth: int
    two_qubit_depth: int
    qubits: int

    @property
    def executions(self) -> int:
        """Circuits in one shot: a row of parameters each."""
        rows = 1
        for length in self.shape:
            rows *= length
        return rows


@dataclass(frozen=True, slots=True)
class Prepared:
    """A program that can be run. rep_delay_s None is the device's default."""

    items: tuple[ItemFacts, ...]
    rep_delay_s: float | None
    init_qubits: bool


@dataclass(frozen=True, slots=True)
class Chip:
    """A device at one calibration. coherence_s: each qubit's T1 and T2, seconds; () is the snapshot's own."""

    name: str
    coherence_s: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A program that cannot be run, and why, in one line."""

    message: str


@dataclass(frozen=True, slots=True)
class Fragments:
    """Results as JSON text without what only the event loop knows: when they were taken.

    results: a list, one element an item; echo: members of the document that go back as they came.
    """

    results: str
    echo: str


@dataclass(frozen=True, slots=True)
class BackendDocuments:
    """A snapshot's configuration and properties as JSON text, as IBM served them."""

    name: str
    configuration: str
    properties: str
