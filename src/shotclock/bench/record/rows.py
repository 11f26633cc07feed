"""One row a training step; a step that carried a call has the call's columns too. Nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shotclock.bench import parquet
from shotclock.bench.columns import UNSTATED, Origin, describe, meanings_of, sign
from shotclock.domain import files
from shotclock.domain.circuit import Simulation
from shotclock.domain.errors import SettingsError
from shotclock.domain.host_figures import NOT_READ, AroundCall
from shotclock.domain.stages import Stage, StageTiming

CALL_STAGES = tuple(stage for stage in Stage if stage is not Stage.TOTAL_ITERATION_TIME)


@dataclass(frozen=True, slots=True)
class CallRow:
    """What one call did, from the scheduled step boundary.

    request_id: the request's name.
    outcome: done, degraded, shed, late or failed.
    cause: why there are no samples; "" if there are.
    decision: what the aggregator did with the answer: applied, revalidated, rejected, dropped, conflict or
        abandoned.
    winner: whose bits the answer is: incumbent, classical or quantum.
    base_version: the model version of the subproblem.
    deadline_ns: the call's budget, nanoseconds.
    in_time: samples arrived by the deadline and passed their checks; false of a cached call.
    answered: whether it brought an answer, by the deadline if training waited for it.
    added_latency_ns: the training thread's blocked time, nanoseconds.
    added_emulated_ns: the part of it that an emulation waited on purpose, nanoseconds.
    quantum_latency_ns: from the boundary to the samples, nanoseconds; None where no samples came (a miss,
        right-censored at deadline_ns), and of a cached call.
    quantum_emulated_ns: the part of the call that an emulation waited on purpose, nanoseconds.
    raw_gain: energy of changing nothing minus the best raw sample's; 0 without samples.
    classical_gain: the same of the classical answer; 0 without one.
    qpu_s: QPU time consumed, seconds; 0 if none was reported.
    attempts: submits to the provider; 0 if nothing was submitted.
    emulator_overrun: whether the emulation computed for longer than the time it emulates.
    cached: answered from an equal call's samples, which is not a call of the QPU.
    penalised: run at a rep_delay below the device's default.
    sharers: calls in the job, this one included.
    stages: the timed stages, propose and apply included.
    inline: training waited for it.
    simulation_method: how an emulation computed the samples; "" of a QPU's, and without samples.
    bond_dimension: of a matrix product state; 0 of another method.
    truncation_error: the sum of the weights it cut off; None where it is not known.
    surrogate_error: relative energy error of the subproblem against the dense surrogate, over assignments
        near greedy's answer; 0 where no term was left out.
    submit_decision: of a pre-evaluation: submit, veto or calibrate; "" where none was made.
    expected_gain: energy by which the samples were expected to beat the incumbent; None without one.
    beats_incumbent: whether the best raw sample did; None without one, and without samples.
    gpu_idle_ns: time that training waited for the answer, times the accelerators of the process, nanoseconds;
        None on a host without any.
    around: what accelerators and fabrics did meanwhile.
    phase: of a call that the workload made through a primitive, forward or backward; "" of a kernel's.
    """

    request_id: str
    outcome: str
    cause: str
    decision: str
    winner: str
    base_version: int
    deadline_ns: int
    in_time: bool
    answered: bool
    added_latency_ns: int
    added_emulated_ns: int
    quantum_latency_ns: int | None
    quantum_emulated_ns: int
    raw_gain: float
    classical_gain: float
    qpu_s: float
    attempts: int
    emulator_overrun: bool
    cached: bool
    penalised: bool
    sharers: int
    stages: tuple[StageTiming, ...]
    inline: bool = True
    simulation_method: str = ""
    bond_dimension: int = 0
    truncation_error: float | None = 0.0
    surrogate_error: float = 0.0
    submit_decision: str = ""
    expected_gain: float | None = None
    beats_incumbent: bool | None = None
    gpu_idle_ns: int | None = None
    around: AroundCall = NOT_READ
    phase: str = ""

    @property
    def simulation(self) -> Simulation:
        """How an emulation computed the samples."""
        return Simulation(self.simulation_method, self.bond_dimension, self.truncation_error)


@dataclass(frozen=True, slots=True)
class StepRow:
    """One training step of one arm and seed.

    arm: the arm's name.
    seed: number of the seed, from 0.
    step: step 0 is the first after warm-up.
    start_ns: on the arm's own time line (its steps end to end, other arms left out), nanoseconds.
    total_iteration_time_ns: length of the step, the part of a call that it waits for included, nanoseconds.
    batch_loss: loss on the step's batch, before the optimizer step.
    eval_loss: held-out loss after the step; None where it was not computed.
    call: the call that was scheduled for the step; None without one.
    optimizer_steps: how many of them the row holds: more than 1 in an arm that fills another's time, 0 where
        that is not known.
    further_call: the row adds a call to the step of the row before it, and neither a step nor time.
    """

    arm: str
    seed: int
    step: int
    start_ns: int
    total_iteration_time_ns: int
    batch_loss: float
    eval_loss: float | None
    call: CallRow | None
    optimizer_steps: int = 1
    further_call: bool = False


_CALL_COLUMNS = tuple(field.name for field in fields(CallRow) if field.name not in {"stages", "around"})
_AROUND_COLUMNS = tuple(field.name for field in fields(AroundCall))
_STEP_COLUMNS = tuple(field.name for field in fields(StepRow) if field.name != "call")

_TYPES: dict[str, pa.DataType] = {
    "arm": pa.string(),
    "seed": pa.int64(),
    "step": pa.int64(),
    "batch_loss": pa.float64(),
    "eval_loss": pa.float64(),
    "request_id": pa.string(),
    "outcome": pa.string(),
    "cause": pa.string(),
    "decision": pa.string(),
    "winner": pa.string(),
    "base_version": pa.int64(),
    "in_time": pa.bool_(),
    "answered": pa.bool_(),
    "raw_gain": pa.float64(),
    "classical_gain": pa.float64(),
    "qpu_s": pa.float64(),
    "attempts": pa.int64(),
    "emulator_overrun": pa.bool_(),
    "cached": pa.bool_(),
    "penalised": pa.bool_(),
    "inline": pa.bool_(),
    "simulation_method": pa.string(),
    "truncation_error": pa.float64(),
    "surrogate_error": pa.float64(),
    "submit_decision": pa.string(),
    "expected_gain": pa.float64(),
    "beats_incumbent": pa.bool_(),
    "hbm_bandwidth_ratio": pa.float64(),
    "hbm_bandwidth_method": pa.string(),
    "phase": pa.string(),
    "further_call": pa.bool_(),
}
_LATER: dict[str, object] = {
    "optimizer_steps": 0,
    "inline": True,
    "simulation_method": "",
    "bond_dimension": 0,
    "truncation_error": None,
    "surrogate_error": 0.0,
    "submit_decision": "",
    "expected_gain": None,
    "beats_incumbent": None,
    "gpu_idle_ns": None,
    "phase": "",
    "further_call": False,
}
"""Columns that older files lack, with the value they stand for."""


_STAGE_COLUMNS = tuple(
    f"{stage}{suffix}" for stage in CALL_STAGES for suffix in ("_start_ns", "_ns", "_emulated_ns")
)
_UNITS = {
    **dict.fromkeys(("batch_loss", "eval_loss"), "loss"),
    **dict.fromkeys(("raw_gain", "classical_gain", "expected_gain"), "energy"),
    **dict.fromkeys(("truncation_error", "surrogate_error", "hbm_bandwidth_ratio"), "1"),
    **{name: "B" for name in _AROUND_COLUMNS if name.endswith("_bytes")},
}
_MEANINGS = {
    **meanings_of(StepRow),
    **meanings_of(CallRow),
    **meanings_of(AroundCall),
    "called": "whether a call was scheduled for the step; without one, the columns of a call are null.",
}
for _stage in CALL_STAGES:
    _MEANINGS[f"{_stage}_start_ns"] = "when the stage began, on the run's clock."
    _MEANINGS[f"{_stage}_ns"] = "length of the stage, the attempts of a retried call added."
    _MEANINGS[f"{_stage}_emulated_ns"] = "the part of it that an emulation waited on purpose."
SCHEMA = describe(
    pa.schema(
        [
            (name, pa.bool_() if name == "called" else _TYPES.get(name, pa.int64()))
            for name in (*_STEP_COLUMNS, "called", *_CALL_COLUMNS, *_AROUND_COLUMNS, *_STAGE_COLUMNS)
        ]
    ),
    _MEANINGS,
    _UNITS,
)
MOST_ROWS = 1_000_000
"""That are read of one run; the full one has 35,000."""
MOST_STEPS = 10_000_000


def _flat(step: StepRow) -> dict[str, object]:
    row: dict[str, object] = {name: getattr(step, name) for name in _STEP_COLUMNS}
    row["called"] = step.call is not None
    for name in _CALL_COLUMNS:
        row[name] = getattr(step.call, name) if step.call else None
    for name in _AROUND_COLUMNS:
        row[name] = getattr(step.call.around, name) if step.call else None
    for stage in CALL_STAGES:
        # a retried call went through a stage more than once
        timings = [timing for timing in step.call.stages if timing.stage is stage] if step.call else []
        row[f"{stage}_start_ns"] = timings[0].start_ns if timings else None
        row[f"{stage}_ns"] = sum(timing.duration_ns for timing in timings) if timings else None
        row[f"{stage}_emulated_ns"] = sum(timing.emulated_ns for timing in timings) if timings else None
    return row


def table(steps: list[StepRow]) -> pa.Table:
    """The rows as one Arrow table; a stage has columns `<stage>_start_ns`, `_ns` and `_emulated_ns`."""
    return pa.Table.from_pylist([_flat(step) for step in steps], schema=SCHEMA)


def steps(rows: pa.Table) -> list[StepRow]:
    """The rows of a table made by `table`; a stage that a retried call repeated comes back as one timing.

    Raises KeyError where a column is missing.
    """
    rows_read = []
    # a batch at a time: a dict a row takes many times what a step does
    for row in (row for batch in rows.to_batches(max_chunksize=5_000) for row in batch.to_pylist()):
        call = None
        if row["called"]:
            timings = tuple(
                StageTiming(stage, row[f"{stage}_start_ns"], row[f"{stage}_ns"], row[f"{stage}_emulated_ns"])
                for stage in CALL_STAGES
                if row[f"{stage}_ns"] is not None
            )
            around = AroundCall(**{name: row[name] for name in _AROUND_COLUMNS if row.get(name) is not None})
            own = {name: (_LATER | row)[name] for name in _CALL_COLUMNS}
            call = CallRow(stages=timings, around=around, **own)
        rows_read.append(StepRow(call=call, **{name: (_LATER | row)[name] for name in _STEP_COLUMNS}))
    return rows_read


def write(steps: list[StepRow], path: Path, origin: Origin = UNSTATED) -> None:
    """`steps.parquet`."""
    with files.replace(path) as file:  # Arrow itself opens no name that is not UTF-8
        pq.write_table(sign(table(steps), origin), file, compression="zstd")


def read_table(path: Path, *, whole: bool = False) -> pa.Table:
    """`steps.parquet` of any version; SettingsError naming the column that cannot be used.

    whole: every column of a call must be there (`inline` came later).
    """
    required = (*(name for name in _STEP_COLUMNS if name not in _LATER), "called")
    if whole:
        required += tuple(name for name in (*_CALL_COLUMNS, *_STAGE_COLUMNS) if name not in _LATER)
    rows = parquet.read_table(
        path,
        SCHEMA,
        required=required,
        most_rows=MOST_ROWS,
        non_finite=("batch_loss", "eval_loss"),
        nullable=("eval_loss", *_CALL_COLUMNS, *_AROUND_COLUMNS, *_STAGE_COLUMNS),
    )
    _check_calls(path, rows)
    steps, seeds = (pc.min_max(rows[name]).as_py() for name in ("step", "seed"))
    if len(rows) and not (steps["min"] >= 0 and steps["max"] <= MOST_STEPS and seeds["min"] >= 0):
        raise SettingsError(f"{path}: step, seed: must be from 0 up, and steps at most {MOST_STEPS:,}")
    return rows


_NULLABLE = frozenset(
    ("quantum_latency_ns", "truncation_error", "expected_gain", "beats_incumbent", "gpu_idle_ns")
)


def _check_calls(path: Path, rows: pa.Table) -> None:
    """A call has all its columns; a stage has its three, or none."""
    calls = rows.filter(rows["called"])
    for name in _CALL_COLUMNS:
        is_nullable = name in _NULLABLE
        if name in calls.column_names and not is_nullable and calls[name].null_count:
            raise SettingsError(f"{path}: {name}: {calls[name].null_count:,} calls have no value")
    for stage in CALL_STAGES:
        names = [f"{stage}{suffix}" for suffix in ("_start_ns", "_ns", "_emulated_ns")]
        masks = [calls[name].is_null().combine_chunks() for name in names if name in calls.column_names]
        if any(not mask.equals(masks[0]) for mask in masks):
            raise SettingsError(f"{path}: {stage}: a call has some of {', '.join(names)} and lacks others")
