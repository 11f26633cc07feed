"""Checks samples.parquet, where a run kept its samples: they belong to its calls, and bounds hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.compute as pc

from shotclock.bench.record.rows import StepRow
from shotclock.bench.record.samples import SAMPLES, read_samples
from shotclock.bench.schema import Summary
from shotclock.bench.verify.contradictions import Contradiction
from shotclock.bench.verify.lock import LOCK, asks_for_samples
from shotclock.bench.verify.origin import check_origin
from shotclock.domain.errors import SettingsError


def check_samples(folder: Path, rows: Sequence[StepRow], summary: Summary) -> Iterator[Contradiction]:
    """All faults; a run that was not asked for its samples has no such file, and no fault."""
    file = folder / SAMPLES
    if not file.exists():
        if asks_for_samples(folder / LOCK):
            yield Contradiction(SAMPLES, f"is missing; {LOCK} has bench.samples = true")
        return
    try:
        table = read_samples(file)
    except SettingsError as error:
        yield Contradiction(SAMPLES, str(error).removeprefix(f"{file}:").strip())
        return
    yield from check_origin(file, summary.run_id, emulated=summary.emulated)
    calls = {
        (row.arm, row.seed, row.step): row.call.request_id for row in rows if row.call and row.call.in_time
    }
    for call in table.group_by(["arm", "seed", "step", "request_id", "emulated"]).aggregate([]).to_pylist():
        where = f"{call['arm']}, seed {call['seed']}, step {call['step']}"
        if calls.get((call["arm"], call["seed"], call["step"])) != call["request_id"]:
            yield Contradiction(SAMPLES, f"{where}: steps.parquet has no such call with samples")
        elif call["emulated"] != summary.arms[call["arm"]].emulated:
            yield Contradiction(SAMPLES, f"{where}: emulated: says {call['emulated']}, its arm otherwise")
    for what, broken in (
        ("count: below 1", pc.less(table["count"], 1)),
        ("energy: below best_known", pc.less(table["energy"], table["best_known"])),
        ("optimum: below best_known", pc.less(table["optimum"], table["best_known"])),
        ("bitstring: not of 0 and 1", pc.invert(pc.match_substring_regex(table["bitstring"], "^[01]+$"))),
    ):
        if number := pc.sum(broken).as_py():
            yield Contradiction(SAMPLES, f"{what} in {number:,} rows")
