"""The fabrics side by side: percentiles with their bounds, what was expected of them, and their stages."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from shotclock.bench.numbers import limit_ms, ms
from shotclock.bench.record.arm_runs import HYBRID
from shotclock.bench.report.kit.grid import Cell, Grid, plain
from shotclock.bench.report.kit.latency_samples import MISSION_MS
from shotclock.bench.report.kit.wording import QUANTILES, quantile
from shotclock.bench.report.run.waterfall_chart import Bar, falls
from shotclock.bench.schema import Latency, Percentile, Summary
from shotclock.domain.plural import count

MEAN, _ADDED_P95 = "added_latency mean", "added_latency p95"


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a fabric: a figure in ms with its bound, or what is known instead, in words.

    name: the figure.
    value_ms: None where it is not known.
    bound_ms: None without one.
    words: the figure with its bound, or why it is missing.
    expected_ms: the reference range; None without one.
    """

    name: str
    value_ms: float | None
    bound_ms: float | None
    words: str
    expected_ms: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class FabricColumn:
    """A hybrid arm without protection, on its profile.

    arm: its name.
    gate: the result of the mission gate, with its reason; "not gated" without one.
    lines: its latencies.
    stages: the mean time of each stage.
    """

    arm: str
    gate: str
    lines: tuple[Line, ...]
    stages: tuple[Bar, ...]


def fabrics(summary: Summary, table: pa.Table) -> list[FabricColumn]:
    """Every fabric that an arm called a QPU over, calls shown as they are (no protection on them)."""
    fallen = {fall.arm: fall for fall in falls(summary, table)}
    return [
        FabricColumn(name, _gate(summary, name), _lines(summary, name), fallen[name].bars)
        for name, arm in summary.arms.items()
        if name.startswith(HYBRID) and arm.calls_quantum and not arm.protected and name in fallen
    ]


def _gate(summary: Summary, arm: str) -> str:
    metric = f"{arm}.quantum_latency.p95_ms"
    gate = next((gate for gate in summary.mission_gates if gate.metric == metric), None)
    return f"{gate.result}: {gate.why}" if gate else "not gated"


def _lines(summary: Summary, arm: str) -> tuple[Line, ...]:
    lines = []
    quantum = summary.metrics.get(f"{arm}.quantum_latency")
    if isinstance(quantum, Latency):
        lines += [_percentile(f"quantum_latency {name}", quantum, name) for name in QUANTILES]
    added = summary.metrics.get(f"{arm}.added_latency")
    profile = summary.profiles.get(summary.arms[arm].profile or "")
    if isinstance(added, Latency):
        mean = Line(MEAN, added.mean, None, ms(added.mean), profile.sanity_mean_ms if profile else None)
        p95 = _percentile(_ADDED_P95, added, "p95", profile.sanity_p95_ms if profile else None)
        lines += [mean, p95]
    return tuple(lines)


def _percentile(
    row: str, latency: Latency, name: str, expected_ms: tuple[float, float] | None = None
) -> Line:
    value, bound = next(quantile(latency, each) for each in QUANTILES if each == name)
    percentile = next((at for key, at in latency.percentiles.items() if key == name), "too_few_samples")
    words = f"{value} ({bound})" if bound else value
    if not isinstance(percentile, Percentile):
        return Line(row, None, None, f"too few: {count(latency.n, 'call')}", expected_ms)
    return Line(row, percentile.value, percentile.upper_bound, words, expected_ms)


def fabrics_grid(fabrics: list[FabricColumn]) -> Grid:
    """The same figures in print, with the expected ranges and the gates."""
    names = [line.name for line in fabrics[0].lines]
    rows: list[tuple[str | Cell, ...]] = []
    for number, name in enumerate(names):
        lines = [fabric.lines[number] for fabric in fabrics]
        rows.append((name, *(Cell(line.words, _range(line.expected_ms)) for line in lines)))
    for bars in zip(*(fabric.stages for fabric in fabrics), strict=True):
        cells = [
            Cell(ms(bar.total_ms), f"{ms(bar.emulated_ms)} emulated" if bar.emulated_ms else "")
            for bar in bars
        ]
        rows.append((f"{bars[0].stage}, mean", *cells))
    rows.append(
        (f"gate: p95 within {limit_ms(MISSION_MS)}", *(fabric.gate.partition(":")[0] for fabric in fabrics))
    )
    return plain("Latency by fabric, ms", ("", *(fabric.arm for fabric in fabrics)), rows, even=True)


def _range(expected_ms: tuple[float, float] | None) -> str:
    return f"expected {expected_ms[0]:,.6g} to {expected_ms[1]:,.6g}" if expected_ms else ""
