"""Run folders as units of a comparison: an independent run each, with its figures and its surroundings."""

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
"""Those of steps.parquet that a comparison reads."""

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
    "device",
    "calibration",
    "profiles",
)
"""The facts of a bench run that its settings decide; the others are the machine's."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One independent run: latencies by name, and shares by name as (successes, calls).

    started_at: ISO, of the process it ran in; several units of one process share it.
    """

    name: str
    started_at: str
    described: Described
    latencies: Mapping[str, Sample]
    shares: Mapping[str, tuple[int, int]]


def read_units(path: Path) -> list[Unit]:
    """The units of a run folder (its seeds, or its load runs), or of a folder of run folders, one each.

    Raises SettingsError where there is no run, or an unfinished one, or none that can be read.
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
        return [_load_unit(path, load, made, f", run {n}") for n, made in zip(numbers, by_run, strict=True)]
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
        raise SettingsError(f"{path}: is no valid measurement: {faulty[0]}")
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
        **_of_arms(summary),
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


def _of_arms(summary: Summary) -> dict[str, str]:
    """What was run, and on which QPU by which numbers; what a run does not tell is left out."""
    arms = summary.arms
    asked = {name: arm for name, arm in arms.items() if arm.call_every is not None}
    found = {
        "arms": ", ".join(sorted(arms)),
        "call_every": _each({name: str(arm.call_every) for name, arm in asked.items()}),
        "mode": _each({name: arm.mode or "" for name, arm in asked.items()}),
        "device": _each({name: arm.device for name, arm in asked.items()}),
        "calibration": _each({name: arm.calibration for name, arm in asked.items()}),
        "profiles": _each({name: _digest(profile) for name, profile in summary.profiles.items()}),
    }
    return {name: fact for name, fact in found.items() if fact}


def _each(facts: Mapping[str, str]) -> str:
    """One word where all arms have it, else arm by arm."""
    told = {name: fact for name, fact in sorted(facts.items()) if fact}
    if len(set(told.values())) == 1 and len(told) > 1:
        return next(iter(told.values()))
    return ", ".join(f"{name} {fact}" for name, fact in told.items())


def _digest(profile: ProfileSummary) -> str:
    """Of every number of a profile and its device: names alone do not say what was emulated."""
    numbers = sorted((one.name, one.value, one.unit) for one in profile.components)
    return hashlib.sha256(json.dumps(numbers).encode()).hexdigest()[:12]


def _latencies(arm: str, rows: pa.Table, calls: pa.Table, *, quantum: bool) -> dict[str, Sample]:
    """As `figures.samples` has them: iterations are those that carry a call, where the arm calls."""
    found: dict[str, Sample] = {}
    iterations = calls if len(calls) else rows
    blocked = calls["added_emulated_ns"] if len(calls) else None
    found |= _parts(f"{arm}.total_iteration_time", iterations["total_iteration_time_ns"], blocked, 0)
    if len(calls):
        found |= _parts(f"{arm}.added_latency", calls["added_latency_ns"], blocked, 0)
    # a cache hit asks no QPU; rows did not always say which call is one
    asked = calls.filter(pc.invert(calls["cached"])) if "cached" in calls.column_names else calls
    if quantum and len(asked):
        back = asked.filter(pc.is_valid(asked["quantum_latency_ns"]))
        missed = len(asked) - len(back)
        found |= _parts(
            f"{arm}.quantum_latency", back["quantum_latency_ns"], back["quantum_emulated_ns"], missed
        )
    return found


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
