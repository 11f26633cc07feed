"""Thresholds: `<arm>.<figure>.p95_ms` at most, `<arm>.<ratio>` at least; each by its binomial bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shotclock.bench.arms import CLASSES, HYBRID, PARTS, PROTECTED, RATIOS, Arm, figures
from shotclock.bench.figures import ArmRows, ratios, samples
from shotclock.bench.schema import Gate
from shotclock.bench.statistics import QUANTILES, gate_quantile, gate_ratio
from shotclock.domain.errors import SettingsError

MISSION_LIMIT_MS = 200.0


@dataclass(frozen=True, slots=True)
class Threshold:
    """A metric and its limit: max for a latency's quantile in ms, min for a ratio."""

    metric: str
    limit: float
    direction: Literal["max", "min"]


@dataclass(frozen=True, slots=True)
class Target:
    """A threshold's metric, taken apart. quantile is None for a ratio."""

    arm: str
    figure: str
    quantile: float | None


def mission_gates(arms: list[Arm]) -> list[Threshold]:
    """The founding document's gate on every hybrid arm that shows the QPU as it is."""
    return [
        Threshold(f"{arm.name}.quantum_latency.p95_ms", MISSION_LIMIT_MS, "max")
        for arm in arms
        if arm.name.startswith(HYBRID) and not arm.name.endswith(PROTECTED)
    ]


def resolve(threshold: Threshold, arms: list[Arm]) -> Target:
    """Which figure a threshold is about; SettingsError when no arm of the run makes it."""
    by_length = sorted(arms, key=lambda arm: -len(arm.name))
    arm = next((arm for arm in by_length if threshold.metric.startswith(f"{arm.name}.")), None)
    if arm is None:
        names = ", ".join(arm.name for arm in arms)
        raise SettingsError(
            f"threshold: '{threshold.metric}': no arm of this run has that name; arms: {names}"
        )
    rest = threshold.metric.removeprefix(f"{arm.name}.")
    if rest in RATIOS and rest in figures(arm):
        return _directed(threshold, Target(arm.name, rest, None), "min")
    figure, _, statistic = rest.rpartition(".")
    quantile = QUANTILES.get(statistic.removesuffix("_ms")) if statistic.endswith("_ms") else None
    if quantile is None or figure not in _latencies(arm):
        raise SettingsError(
            f"threshold: '{threshold.metric}': arm '{arm.name}' makes no such metric; latencies take "
            f".p50_ms, .p95_ms or .p99_ms: {', '.join(figures(arm))}"
        )
    return _directed(threshold, Target(arm.name, figure, quantile), "max")


def judge(threshold: Threshold, target: Target, rows: ArmRows) -> Gate:
    """PASS, FAIL or INCONCLUSIVE, with the count."""
    if target.quantile is None:
        result, why = gate_ratio(*ratios(rows)[target.figure], threshold.limit)
    else:
        result, why = gate_quantile(samples(rows)[target.figure], target.quantile, threshold.limit)
    return Gate(
        metric=threshold.metric,
        limit=threshold.limit,
        direction=threshold.direction,
        result=result,
        why=why,
    )


def _latencies(arm: Arm) -> set[str]:
    whole = {figure for figure in figures(arm) if figure not in RATIOS}
    parts = {f"{figure}.{part}" for figure in whole for part in PARTS}
    classes = {f"added_latency.{kind}" for kind in CLASSES} if arm.quantum else set()
    return whole | parts | classes


def _directed(threshold: Threshold, target: Target, wanted: str) -> Target:
    if threshold.direction != wanted:
        raise SettingsError(f"threshold: '{threshold.metric}' takes {wanted} =, not {threshold.direction} =")
    return target
