"""The figures behind each chart, short enough to read; all of them are in steps.parquet."""

from __future__ import annotations

from dataclasses import replace

from shotclock.bench.numbers import limit_ms, ms
from shotclock.bench.report.kit.grid import Cell, Grid, Group, plain, row
from shotclock.bench.report.kit.latency_samples import LatencySample
from shotclock.bench.report.run.waterfall_chart import Fall

_RANKS = 6
_LIMITS_MS = (20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 5000.0, 30_000.0)


def order_statistics(figures: dict[str, list[LatencySample]]) -> Grid:
    """Some calls of each arm by rank, fastest first: facts, where a percentile would be a claim."""
    groups, most = [], 0
    for name, samples in figures.items():
        rows = []
        for sample in samples:
            shown = [
                Cell(ms(sample.measured_ms[rank]), f"{rank + 1:,} of {sample.n:,}")
                for rank in sample.ranks(_RANKS)
            ]
            most = max(most, len(shown))
            rows.append(row((sample.arm, f"{sample.missed:,}", *shown)))
        groups.append(Group(tuple(rows), name))
    filled = tuple(
        replace(
            group,
            rows=tuple((*cells, *(Cell("") for _ in range(most + 2 - len(cells)))) for cells in group.rows),
        )
        for group in groups
    )
    head = ("arm", "missed", "fastest", *("then" for _ in range(most - 1)))
    return Grid("Some calls by rank, ms, and the rank below", head, filled)


def within(samples: list[LatencySample]) -> Grid:
    """How many calls had samples within round limits."""
    rows = [
        (
            sample.arm,
            *(f"{sum(v <= limit for v in sample.measured_ms):,}" for limit in _LIMITS_MS),
            f"{sample.missed:,}",
            f"{sample.n:,}",
        )
        for sample in samples
    ]
    head = ("arm", *(f"≤ {limit_ms(limit)}" for limit in _LIMITS_MS), "missed", "calls")
    return plain("Calls with samples within", head, rows)


def stage_means(falls: list[Fall]) -> Grid:
    """Mean of each stage over all calls of an arm, emulated wait noted below."""
    rows = []
    for bars in zip(*(fall.bars for fall in falls), strict=True):
        cells = [
            Cell(ms(bar.total_ms), f"{ms(bar.emulated_ms)} emulated" if bar.emulated_ms else "")
            for bar in bars
        ]
        rows.append((bars[0].stage, *cells))
    rows.append(("all", *(Cell(ms(fall.total_ms), look="total") for fall in falls)))
    rows.append(("of which blocks the training", *(ms(fall.blocking_ms) for fall in falls)))
    rows.append(("of which is hidden", *(ms(fall.hidden_ms) for fall in falls)))
    return plain("Mean by stage, ms", ("stage", *(fall.arm for fall in falls)), rows, even=True)
