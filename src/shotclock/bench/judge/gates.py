"""Judges thresholds by their binomial bounds: `<arm>.<figure>.p95_ms` at most, `<arm>.<ratio>` at least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from shotclock.bench.judge.metrics import ArmRows, ratios, samples
from shotclock.bench.record.arm_runs import CLASSES, HYBRID, PARTS, PROTECTED, RATIOS, Arm, figures
from shotclock.bench.schema import GateResult, Result
from shotclock.bench.stats import overrun
from shotclock.bench.stats.statistics import QUANTILES, Sample, gate_quantile, gate_ratio
from shotclock.domain.errors import SettingsError

MISSION_LIMIT_MS = 200.0
MOST_CALLS = 100_000


@dataclass(frozen=True, slots=True)
class Threshold:
    """A metric and its limit: max for a latency's quantile in ms, min for a ratio."""

    metric: str
    limit: float
    direction: Literal["max", "min"]


@dataclass(frozen=True, slots=True)
class GateTarget:
    """The parts of a threshold's metric. quantile: None for a ratio."""

    arm: str
    figure: str
    quantile: float | None


def mission_gates(arms: list[Arm]) -> list[Threshold]:
    """The specification's gate on every unprotected hybrid arm."""
    return [
        Threshold(f"{arm.name}.quantum_latency.p95_ms", MISSION_LIMIT_MS, "max")
        for arm in arms
        if arm.name.startswith(HYBRID) and not arm.name.endswith(PROTECTED)
    ]


def resolve(threshold: Threshold, arms: list[Arm]) -> GateTarget:
    """The figure that a threshold limits; raises SettingsError if no arm of the run has it."""
    by_length = sorted(arms, key=lambda arm: -len(arm.name))
    arm = next((arm for arm in by_length if threshold.metric.startswith(f"{arm.name}.")), None)
    if arm is None:
        names = ", ".join(arm.name for arm in arms)
        raise SettingsError(
            f"threshold: '{threshold.metric}': no arm of this run has that name; arms: {names}"
        )
    figure_name = threshold.metric.removeprefix(f"{arm.name}.")
    if figure_name in RATIOS and figure_name in figures(arm):
        return _apply_direction(threshold, GateTarget(arm.name, figure_name, None), "min")
    figure, _, statistic = figure_name.rpartition(".")
    quantile = QUANTILES.get(statistic.removesuffix("_ms")) if statistic.endswith("_ms") else None
    if quantile is None or figure not in _latencies(arm):
        raise SettingsError(
            f"threshold: '{threshold.metric}': arm '{arm.name}' makes no such metric; latencies take "
            f".p50_ms, .p95_ms or .p99_ms: {', '.join(figures(arm))}"
        )
    return _apply_direction(threshold, GateTarget(arm.name, figure, quantile), "max")


def judge(threshold: Threshold, target: GateTarget, rows: ArmRows) -> GateResult:
    """PASS, FAIL or INCONCLUSIVE, with the count and the number of calls that would decide it."""
    quantile, limit = target.quantile, threshold.limit
    if quantile is None:
        good, n = ratios(rows)[target.figure]
        result, why = gate_ratio(good, n, limit)
    else:
        sample = samples(rows)[target.figure]
        good, n = sample.n - sample.above(limit), sample.n
        result, why = gate_quantile(sample, quantile, limit)
    if invalid := _invalid(rows, quantile):
        result, why = Result.INCONCLUSIVE, invalid
    return GateResult(
        metric=threshold.metric,
        limit=threshold.limit,
        direction=threshold.direction,
        result=result,
        why=why,
        needed=calls_needed(good, n, quantile, limit)
        if result is Result.INCONCLUSIVE and not invalid
        else None,
    )


def calls_needed(good: int, n: int, quantile: float | None, limit: float) -> int:
    """Number of calls that decides a gate at the current share of good ones; 0 above `MOST_CALLS`.

    quantile: of a latency's gate (good means within the limit); None for a share's.
    """
    calls = n
    while calls <= MOST_CALLS:
        calls += max(1, calls // 50)
        within = round(calls * good / n) if n else calls
        if quantile is None:
            result, _ = gate_ratio(within, calls, limit)
        else:
            result, _ = gate_quantile(Sample(np.zeros(within, np.int64), calls - within), quantile, limit)
        if result is not Result.INCONCLUSIVE:
            return calls
    return 0


def _invalid(rows: ArmRows, quantile: float | None) -> str:
    """Why the arm's figures cannot be trusted; "" if they can."""
    overruns = sum(call.emulator_overrun for call in rows.calls)
    answered = sum(call.outcome == "done" for call in rows.calls)
    if overrun.is_invalid(overruns, answered, quantile or overrun.P95):
        return f"invalid: {overrun.describe(overruns, len(rows.calls))}"
    return ""


def _latencies(arm: Arm) -> set[str]:
    whole = {figure for figure in figures(arm) if figure not in RATIOS}
    parts = {f"{figure}.{part}" for figure in whole for part in PARTS}
    classes = {f"added_latency.{kind}" for kind in CLASSES} if arm.quantum else set()
    return whole | parts | classes


def _apply_direction(threshold: Threshold, target: GateTarget, direction: str) -> GateTarget:
    if threshold.direction != direction:
        raise SettingsError(
            f"threshold: '{threshold.metric}' takes {direction} =, not {threshold.direction} ="
        )
    return target
