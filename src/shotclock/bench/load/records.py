"""One record a call of a load test; instants are nanoseconds from the start of its run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from shotclock.bench import parquet
from shotclock.bench.columns import UNSTATED, Origin, describe, meanings_of, sign
from shotclock.domain import files
from shotclock.domain.circuit import Simulation
from shotclock.domain.outcome import (
    CircuitOutcome,
    Degraded,
    Done,
    Executed,
    Failed,
    Late,
    Outcome,
    Rejection,
    Shed,
    why_no_samples,
)

MOST_CALLS = 4_000_000
"""That are read of one test: an hour at 1,000 calls a second."""
CLASSES = ("qpu", "cache_hit", "fallback", "rejected", "unanswered")
"""Who answered: samples in time; an equal call's samples; a classical answer after the QPU was called, or
without calling it; nobody. Each has a separate latency, because mixed latencies would hide each other."""
Basis = Literal["quantum", "any"]
"""Which calls count as answered: those with samples of the QPU, or with any answer to apply."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """The record of one call. Instants are nanoseconds from the run's begin.

    run: number of the run in its test, from 0.
    query: number of the query; calls of one MLPerf query share it.
    scheduled_ns: the instant the call was due.
    issued_ns: the instant it was issued.
    completed_ns: the instant its outcome arrived.
    outcome: done, degraded, shed, late or failed; executed, of a circuit.
    answered_by: who answered: qpu, cache_hit, fallback, rejected or unanswered.
    cause: why there are no samples; "" if there are.
    emulated: whether the provider was emulated.
    emulated_ns: waited on purpose by an emulation, nanoseconds.
    qpu_s: QPU time consumed, seconds; 0 if none was reported.
    attempts: submits to the provider; 0 if nothing was submitted.
    emulator_overrun: whether the emulation computed for longer than the time it emulates.
    simulation_method: how an emulation computed the samples; "" of a QPU's, and without samples.
    bond_dimension: of a matrix product state; 0 of another method.
    truncation_error: the sum of the weights it cut off; None where it is not known.
    """

    run: int
    query: int
    scheduled_ns: int
    issued_ns: int
    completed_ns: int
    outcome: str
    answered_by: str
    cause: str
    emulated: bool
    emulated_ns: int
    qpu_s: float
    attempts: int
    emulator_overrun: bool
    simulation_method: str = ""
    bond_dimension: int = 0
    truncation_error: float | None = 0.0

    @property
    def simulation(self) -> Simulation:
        """How an emulation computed the samples."""
        return Simulation(self.simulation_method, self.bond_dimension, self.truncation_error)

    @property
    def latency_ns(self) -> int:
        """From the scheduled instant, so that no stall hides the queue behind it."""
        return self.completed_ns - self.scheduled_ns

    @property
    def issue_lag_ns(self) -> int:
        """How late the load itself was."""
        return self.issued_ns - self.scheduled_ns

    @property
    def is_answered(self) -> bool:
        """Whether there was anything to apply."""
        return self.answered_by != "unanswered"

    def concerns(self, basis: Basis) -> bool:
        """Whether it is in the denominator: a cache hit asks no QPU."""
        return basis == "any" or self.answered_by != "cache_hit"

    def counts(self, basis: Basis) -> bool:
        """Whether it has a latency there; one that has none is missed."""
        return self.is_answered if basis == "any" else self.answered_by == "qpu"


def record(
    outcome: Outcome | CircuitOutcome,
    *,
    run: int,
    query: int,
    scheduled_ns: int,
    issued_ns: int,
    completed_ns: int,
) -> CallRecord:
    """The record of an outcome."""
    provenance = outcome.provenance
    return CallRecord(
        run=run,
        query=query,
        scheduled_ns=scheduled_ns,
        issued_ns=issued_ns,
        completed_ns=completed_ns,
        outcome=type(outcome).__name__.lower(),
        answered_by=classify_answer(outcome),
        cause=why_no_samples(outcome, figures=False),
        emulated=provenance.emulated,
        emulated_ns=sum(stage.emulated_ns for stage in provenance.stages),
        qpu_s=provenance.qpu_s,
        attempts=provenance.attempts,
        emulator_overrun=provenance.emulator_overrun,
        simulation_method=provenance.simulation.method,
        bond_dimension=provenance.simulation.bond_dimension,
        truncation_error=provenance.simulation.truncation_error,
    )


def classify_answer(outcome: Outcome | CircuitOutcome) -> str:
    """One of `CLASSES`."""
    match outcome:
        case Executed():
            return "qpu"
        case Done(provenance=provenance, samples=samples):
            if provenance.cached:
                return "cache_hit"
            return "qpu" if samples.shots else "fallback"
        case Degraded(cause=cause):
            return "rejected" if isinstance(cause, Rejection) else "fallback"
        case Shed() | Late() | Failed():
            return "unanswered"


_COLUMNS = tuple(field.name for field in fields(CallRecord))
_TYPES: dict[str, pa.DataType] = {
    "outcome": pa.string(),
    "answered_by": pa.string(),
    "cause": pa.string(),
    "emulated": pa.bool_(),
    "emulator_overrun": pa.bool_(),
    "qpu_s": pa.float64(),
    "simulation_method": pa.string(),
    "truncation_error": pa.float64(),
}
_LATER_COLUMNS = ("simulation_method", "bond_dimension", "truncation_error")
"""Those that older files lack."""
SCHEMA = describe(
    pa.schema([(name, _TYPES.get(name, pa.int64())) for name in _COLUMNS]),
    meanings_of(CallRecord),
    {"truncation_error": "1"},
)


def table(records: Iterable[CallRecord]) -> pa.Table:
    """The records as one Arrow table."""
    rows = list(records)
    return pa.table({name: [getattr(row, name) for row in rows] for name in _COLUMNS}, schema=SCHEMA)


def write(records: Iterable[CallRecord], path: Path, origin: Origin = UNSTATED) -> None:
    """`calls.parquet`."""
    with files.replace(path) as file:  # Arrow cannot open names that are not UTF-8
        pq.write_table(sign(table(records), origin), file, compression="zstd")


def read(path: Path) -> list[CallRecord]:
    """The records of a calls.parquet; raises SettingsError if the file is not one."""
    required = [name for name in _COLUMNS if name not in _LATER_COLUMNS]
    rows = parquet.read_table(
        path, SCHEMA, required=required, most_rows=MOST_CALLS, nullable=("truncation_error",)
    )
    rows = rows.select([name for name in _COLUMNS if name in rows.column_names])
    batches = rows.to_batches(max_chunksize=10_000)  # a dict a row takes many times what a record does
    return [CallRecord(**row) for batch in batches for row in batch.to_pylist()]
