"""Programs as the event loop sees them: plain figures without circuits, passed between the processes."""

from __future__ import annotations

from dataclasses import dataclass

from shotclock.domain.circuit import NOT_SIMULATED, Simulation


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """The timing figures of one PUB or of one item of a quantum program.

    shape: of the sweep, without shots
    shots: of each row
    duration_s: one execution with read-out and without reset, seconds
    depth: of the circuit
    two_qubit_depth: counted in two-qubit gates
    qubits: number of used qubits
    """

    shape: tuple[int, ...]
    shots: int
    duration_s: float
    depth: int
    two_qubit_depth: int
    qubits: int

    @property
    def executions(self) -> int:
        """Circuits in one shot: one per row of parameters."""
        rows = 1
        for length in self.shape:
            rows *= length
        return rows


@dataclass(frozen=True, slots=True)
class Prepared:
    """A program that can be run. rep_delay_s: None for the device's default."""

    items: tuple[ItemFacts, ...]
    rep_delay_s: float | None
    init_qubits: bool


@dataclass(frozen=True, slots=True)
class Chip:
    """A device at one calibration. coherence_s: each qubit's T1 and T2, seconds; () for the snapshot's."""

    name: str
    coherence_s: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A program that cannot be run; message: why, in one line."""

    message: str


@dataclass(frozen=True, slots=True)
class Fragments:
    """Results as JSON text, without the time stamps, which only the event loop knows.

    results: a list with one element per item
    echo: members of the request to return unchanged
    simulation: how the samples were computed, the least exact of all circuits
    """

    results: str
    echo: str
    simulation: Simulation = NOT_SIMULATED


@dataclass(frozen=True, slots=True)
class PreparedBackend:
    """A snapshot's configuration and properties, JSON texts from IBM's service."""

    name: str
    configuration: str
    properties: str
