"""`samples.parquet`: a row for each distinct bit string of each call with new samples, on request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shotclock.bench import parquet
from shotclock.bench.columns import Origin, describe, sign
from shotclock.bench.record.compared_calls import DENSE_SEARCH, EXACT, ComparedCall
from shotclock.domain import files
from shotclock.domain.circuit import Samples
from shotclock.domain.iteration import FinishedCall
from shotclock.domain.outcome import Done
from shotclock.domain.subproblem import Float64s

SAMPLES = "samples.parquet"
MOST_SAMPLES = 2_000_000
"""Rows that are written and read; the default run has at most a million. Calls beyond are left out."""
LEFT_OUT = "calls_left_out"
"""In the file's metadata: how many calls had no room."""

_MEANINGS = {
    "arm": "the arm's name.",
    "seed": "number of the seed, from 0.",
    "step": "the training step that called.",
    "request_id": "the request's name, as in steps.parquet.",
    "bitstring": "a 0 or 1 for each variable, variable 0 first.",
    "count": "how many shots gave it.",
    "energy": "of the bit string, the subproblem's offset included.",
    "optimum": "the lowest energy there is; None where it is not affordable.",
    "best_known": "the lowest energy among samples, answer and controls: an upper bound of the optimum.",
    "device": 'of the QPU; "" where the provider names none.',
    "profile": 'the arm\'s latency profile; "" without one.',
    "method": 'how an emulation computed the samples; "" of a QPU\'s.',
    "emulated": "whether the provider was emulated.",
}
_TYPES: dict[str, pa.DataType] = {
    "seed": pa.int64(),
    "step": pa.int64(),
    "count": pa.int64(),
    "energy": pa.float64(),
    "optimum": pa.float64(),
    "best_known": pa.float64(),
    "emulated": pa.bool_(),
}
SCHEMA = describe(
    pa.schema([(name, _TYPES.get(name, pa.string())) for name in _MEANINGS]),
    _MEANINGS,
    {"energy": "energy", "optimum": "energy", "best_known": "energy", "count": "shots"},
)


@dataclass(frozen=True, slots=True, eq=False)
class CallSamples:
    """The samples of one call.

    arm: the arm's name.
    seed: number of the seed, from 0.
    step: the training step that called.
    request_id: the request's name.
    samples: the bit strings and their counts.
    energies: of each bit string.
    optimum: lowest energy there is; None where it was not enumerated.
    best_known: lowest energy found by anything.
    method: how an emulation computed the samples; "" of a QPU's.
    emulated: whether the provider was emulated.
    """

    arm: str
    seed: int
    step: int
    request_id: str
    samples: Samples
    energies: Float64s
    optimum: float | None
    best_known: float
    method: str
    emulated: bool


def keep_samples(call: FinishedCall, outcome: Done, compared: ComparedCall) -> CallSamples:
    """The samples of a call that was compared with its controls."""
    energies = call.subproblem.energies(outcome.samples.pool)
    solved = {control.name: control.energy for control in compared.controls if control.name != DENSE_SEARCH}
    return CallSamples(
        compared.arm,
        compared.seed,
        compared.step,
        call.request_id,
        outcome.samples,
        energies,
        solved.get(EXACT),
        min(float(energies.min()), outcome.answer.energy, *solved.values()),
        outcome.provenance.simulation.method,
        outcome.provenance.emulated,
    )


def write_samples(
    calls: Sequence[CallSamples], about: Mapping[str, tuple[str, str]], path: Path, origin: Origin
) -> int:
    """Writes `samples.parquet`; gives the number of calls left out, which its metadata say too.

    about: device and profile of each arm.
    """
    batches, rows = [], 0
    for call in calls:
        rows += len(call.samples.counts)
        if rows > MOST_SAMPLES:
            break
        batches.append(_batch(call, *about[call.arm]))
    left_out = len(calls) - len(batches)
    table = sign(pa.Table.from_batches(batches, SCHEMA), origin)
    table = table.replace_schema_metadata({**table.schema.metadata, LEFT_OUT: str(left_out)})
    with files.replace(path) as file:  # Arrow itself opens no name that is not UTF-8
        pq.write_table(table, file, compression="zstd")
    return left_out


def _batch(call: CallSamples, device: str, profile: str) -> pa.RecordBatch:
    pool, counts = call.samples.pool, call.samples.counts
    text = np.ascontiguousarray(pool + ord("0"), dtype=np.uint8).view(f"S{pool.shape[1]}").ravel()
    each = {
        "bitstring": pa.array(text.astype(str).tolist(), pa.string()),
        "count": pa.array(counts, pa.int64()),
        "energy": pa.array(call.energies, pa.float64()),
    }
    same = {
        **{name: getattr(call, name) for name in ("arm", "seed", "step", "request_id")},
        **{name: getattr(call, name) for name in ("optimum", "best_known", "method", "emulated")},
        "device": device,
        "profile": profile,
    }
    columns = [
        each[field.name]
        if field.name in each
        else pa.repeat(pa.scalar(same[field.name], field.type), len(counts))
        for field in SCHEMA
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def read_samples(path: Path) -> pa.Table:
    """`samples.parquet`; SettingsError where size, schema or values are not such a file's."""
    return parquet.read_table(
        path, SCHEMA, required=SCHEMA.names, most_rows=MOST_SAMPLES, nullable=("optimum",)
    )
