"""Reads run folders as units of a comparison: independent runs with their figures and environment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shotclock.bench.load.folder import SUMMARY as LOAD_SUMMARY
from shotclock.bench.load.folder import read_calls, read_load
from shotclock.bench.load.judge import sample
from shotclock.bench.load.records import CallRecord
from shotclock.bench.load.schema import LoadSummary
from shotclock.bench.record.environment import Described
from shotclock.bench.record.folder import RunFolder
from shotclock.bench.schema import ProfileSummary, Summary
from shotclock.bench.stats.statistics import Sample
from shotclock.domain.errors import SettingsError

STEP_COLUMNS = (
    "arm",
    "seed",
    "called",
    "answered",
    "in_time",
    "total_iteration_time_ns",
    "added_latency_ns",
    "added_emulated_ns",
    "quantum_latency_ns",
    "quantum_emulated_ns",
)
"""The columns of steps.parquet that a comparison reads."""

SET_BY_SETTINGS = (
    "workload",
    "kernel",
    "n",
    "shots",
    "emulated",
    "steps",
    "arms",
    "call_every",
    "mode",
    "virtual clock",
    "device",
    "calibration",
    "profiles",
)
"""The facts of a bench run that its settings determine; the others describe the machine."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One independent run.

    name: for people
    started_at: of its process, ISO 8601; units of one process share it
    described: its facts
    latencies: by name
    shares: by name, as (successes, calls)
    """

    name: str
    started_at: str
    described: Described
    latencies: Mapping[str, Sample]
    shares: Mapping[str, tuple[int, int]]


def read_units(path: Path) -> list[Unit]:
    """The units of a run folder (its seeds, or its load runs), or of a folder of run folders, one each.

    Raises SettingsError if there is no run, or if one is unfinished or unreadable.
    """
    try:
        if _is_run(path):
            return _split(path)
        folders = sorted(child for child in path.iterdir() if _is_run(child)) if path.is_dir() else []
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    if not folders:
        raise SettingsError(f"{path}: neither a run folder (summary.json or load.json) nor a folder of them")
    units = [_whole(folder) for folder in folders]
    return sorted(units, key=lambda unit: unit.started_at)


def _is_run(path: Path) -> bool:
    return (path / "summary.json").is_file() or (path / LOAD_SUMMARY).is_file()


def _split(path: Path) -> list[Unit]:
    if (path / LOAD_SUMMARY).is_file():
        load, calls = _load(path)
        numbers = range(len(load.runs))
        by_run = [[call for call in calls if call.run == number] for number in numbers]
        return [_load_unit(path, load, own, f", run {n}") for n, own in zip(numbers, by_run, strict=True)]
    summary, table = _bench(path)
    seeds = sorted(set(table["seed"].to_pylist()))
    return [
        _bench_unit(path, summary, table.filter(pc.equal(table["seed"], seed)), f", seed {seed}")
        for seed in seeds
    ]


def _whole(path: Path) -> Unit:
    if (path / LOAD_SUMMARY).is_file():
        return _load_unit(path, *_load(path))
    return _bench_unit(path, *_bench(path))


def _load(path: Path) -> tuple[LoadSummary, list[CallRecord]]:
    load = read_load(path)
    _refuse_unfinished(path, load.status)
    if load.knee is not None:
        raise SettingsError(f"{path}: is a sweep over rates; compare load tests of one rate")
    if faulty := [fault for run in load.runs for fault in run.faults]:
        raise SettingsError(f"{path}: is not a valid measurement: {faulty[0]}")
    return load, read_calls(path)


def _bench(path: Path) -> tuple[Summary, pa.Table]:
    summary = RunFolder(path).read_summary()
    _refuse_unfinished(path, summary.status)
    table = RunFolder(path).read_steps()
    if missing := [name for name in STEP_COLUMNS if name not in table.column_names]:
        raise SettingsError(f"{path / 'steps.parquet'}: has no column {', '.join(missing)}")
    return summary, table


def _refuse_unfinished(path: Path, status: str) -> None:
    if status != "complete":
        raise SettingsError(f"{path}: is {status}; compare complete runs")


def _load_unit(path: Path, load: LoadSummary, calls: Sequence[CallRecord], part: str = "") -> Unit:
    facts = {
        "kind": "load",
        "scenario": str(load.scenario),
        "rate": f"{load.rate_per_s:g}",
        "deadline_ms": f"{load.deadline_ms:g}",
        "n": str(load.n),
        "asked": load.identity,
        "clock": load.clock,
        "emulated": str(load.emulated),
        "provider": load.provider,
    }
    software = Sample.of(
        [max(0, call.latency_ns - call.emulated_ns) for call in calls if call.is_answered],
        sum(not call.is_answered for call in calls),
    )
    hits = [call for call in calls if call.is_answered and call.latency_ns <= load.deadline_ms * 1e6]
    return Unit(
        name=f"{path}{part}",
        started_at=load.started_at,
        described=Described(f"{path}", facts | load.environment),
        latencies={
            "load.latency": sample(calls, "any"),
            "load.quantum_latency": sample(calls, "quantum"),
            "load.latency.software": software,
        },
        shares={
            "load.deadline_hit_ratio": (len(hits), len(calls)),
            "load.quantum_share": (sum(call.answered_by == "qpu" for call in hits), len(calls)),
        },
    )


def _bench_unit(path: Path, summary: Summary, table: pa.Table, part: str = "") -> Unit:
    facts = {
        "kind": "bench",
        "workload": summary.workload,
        "kernel": summary.kernel,
        "n": str(summary.n),
        "shots": str(summary.shots),
        "clock": summary.clock,
        "emulated": str(summary.emulated),
        "steps": str(max((arm.steps // max(1, len(arm.seeds)) for arm in summary.arms.values()), default=0)),
        **_arm_facts(summary),
    }
    latencies: dict[str, Sample] = {}
    shares: dict[str, tuple[int, int]] = {}
    for name, arm in summary.arms.items():
        rows = table.filter(pc.equal(table["arm"], name))
        calls = rows.filter(rows["called"])
        latencies |= _latencies(name, rows, calls, quantum=arm.calls_quantum)
        if arm.calls:
            shares[f"{name}.deadline_hit_ratio"] = (_true(calls, "answered"), len(calls))
        if arm.calls_quantum:
            shares[f"{name}.quantum_share"] = (_true(calls, "in_time"), len(calls))
    return Unit(
        f"{path}{part}",
        summary.started_at,
        Described(f"{path}", facts | summary.environment),
        latencies,
        shares,
    )


def _arm_facts(summary: Summary) -> dict[str, str]:
    """The arms and their QPU's device, calibration and numbers; omits what the summary does not hold."""
    arms = summary.arms
    calling = {name: arm for name, arm in arms.items() if arm.call_every is not None}
    facts = {
        "arms": ", ".join(sorted(arms)),
        "call_every": _join_facts({name: str(arm.call_every) for name, arm in calling.items()}),
        "mode": _join_facts({name: arm.mode or "" for name, arm in calling.items()}),
        "virtual clock": ", ".join(sorted(name for name, arm in arms.items() if arm.clock == "virtual")),
        "device": _join_facts({name: arm.device for name, arm in calling.items()}),
        "calibration": _join_facts({name: arm.calibration for name, arm in calling.items()}),
        "profiles": _join_facts({name: _digest(profile) for name, profile in summary.profiles.items()}),
    }
    return {name: fact for name, fact in facts.items() if fact}


def _join_facts(facts: Mapping[str, str]) -> str:
    """The fact once if all arms have the same, otherwise arm by arm."""
    present = {name: fact for name, fact in sorted(facts.items()) if fact}
    if len(set(present.values())) == 1 and len(present) > 1:
        return next(iter(present.values()))
    return ", ".join(f"{name} {fact}" for name, fact in present.items())


def _digest(profile: ProfileSummary) -> str:
    """A hash of the numbers of a profile and its device, because names do not determine them."""
    numbers = sorted((part.name, part.value, part.unit) for part in profile.components)
    return hashlib.sha256(json.dumps(numbers).encode()).hexdigest()[:12]


def _leave_out_further(rows: pa.Table) -> pa.Table:
    """The rows of steps; older files hold no others."""
    if "further_call" not in rows.column_names:
        return rows
    return rows.filter(pc.invert(pc.fill_null(rows["further_call"], fill_value=False)))


def _latencies(arm: str, rows: pa.Table, calls: pa.Table, *, quantum: bool) -> dict[str, Sample]:
    """As in `metrics.samples`: iterations with a call only, if the arm makes calls."""
    latencies: dict[str, Sample] = {}
    iterations = _leave_out_further(calls if len(calls) else rows)
    waited = iterations["added_emulated_ns"] if len(calls) else None
    latencies |= _parts(f"{arm}.total_iteration_time", iterations["total_iteration_time_ns"], waited, 0)
    if len(calls):
        blocked = calls["added_emulated_ns"]
        latencies |= _parts(f"{arm}.added_latency", calls["added_latency_ns"], blocked, 0)
    # a cache hit does not call the QPU; older rows do not hold the column
    qpu_calls = calls.filter(pc.invert(calls["cached"])) if "cached" in calls.column_names else calls
    if quantum and len(qpu_calls):
        back = qpu_calls.filter(pc.is_valid(qpu_calls["quantum_latency_ns"]))
        missed = len(qpu_calls) - len(back)
        latencies |= _parts(
            f"{arm}.quantum_latency", back["quantum_latency_ns"], back["quantum_emulated_ns"], missed
        )
    return latencies


def _parts(
    name: str, total: pa.ChunkedArray, emulated: pa.ChunkedArray | None, missed: int
) -> dict[str, Sample]:
    whole = total.to_numpy().astype(np.int64)
    waited = np.zeros_like(whole) if emulated is None else emulated.to_numpy().astype(np.int64)
    software = np.maximum(0, whole - waited)
    return {
        name: Sample(np.sort(whole), missed),
        f"{name}.software": Sample(np.sort(software), missed),
    }


def _true(calls: pa.Table, column: str) -> int:
    return int(pc.sum(calls[column]).as_py() or 0)
