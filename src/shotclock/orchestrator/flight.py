"""Calls that share a job: which of them side by side on which line, at how many shots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shotclock.domain.circuit import DeviceCircuit, Pub
from shotclock.orchestrator.call import Call

Line = tuple[int, ...]
ANY_LINE: Line = ()
"""The device's own choice."""


@dataclass(frozen=True, slots=True, eq=False)
class Seat:
    """A call on a line of qubits."""

    call: Call
    line: Line = ANY_LINE


@dataclass(frozen=True, slots=True, eq=False)
class Flight:
    """A job to be: a row of seats a PUB. predicted_s: p95 of submit to samples with nothing ahead."""

    rows: tuple[tuple[Seat, ...], ...]
    shots: int
    rep_delay_s: float | None
    penalised: bool
    predicted_s: float

    def calls(self) -> Iterator[Call]:
        """Every call in it."""
        return (seat.call for row in self.rows for seat in row)

    @property
    def wanted(self) -> bool:
        """Whether any caller still waits."""
        return any(call.wanted for call in self.calls())


@dataclass(frozen=True, slots=True, eq=False)
class Passenger:
    """A call with its circuit bound."""

    call: Call
    circuit: DeviceCircuit


@dataclass(frozen=True, slots=True, eq=False)
class Manifest:
    """What a job is made of, the calls that have left taken out."""

    rows: tuple[tuple[Passenger, ...], ...]

    def boarding(self) -> Manifest:
        """The same without callers who have left."""
        rows = (tuple(one for one in row if one.call.wanted) for row in self.rows)
        return Manifest(tuple(row for row in rows if row))

    @property
    def pubs(self) -> tuple[Pub, ...]:
        """A PUB a row."""
        return tuple(Pub(tuple(one.circuit for one in row)) for row in self.rows)

    @property
    def calls(self) -> tuple[Call, ...]:
        """In the order of the job's samples."""
        return tuple(one.call for row in self.rows for one in row)
