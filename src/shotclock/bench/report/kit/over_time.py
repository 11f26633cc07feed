"""quantum_latency over a run, arm by arm, for the report's heat maps."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from shotclock.bench.numbers import NOTHING, ms
from shotclock.bench.report.kit.compose import Composed
from shotclock.bench.report.kit.grid import Grid, plain
from shotclock.bench.report.kit.heat_map import Heat, Instant, heat_map
from shotclock.bench.report.kit.latency_samples import MISSION_MS, LatencySample, log_ms_axis
from shotclock.bench.schema import Summary

_PARTS = 10


def busiest(summary: Summary) -> str | None:
    """The unprotected arm with the most QPU calls; None if no arm calls a QPU."""
    calls_by_arm = {
        name: arm.calls
        for name, arm in summary.arms.items()
        if arm.calls_quantum and arm.calls and not arm.protected
    }
    return max(calls_by_arm, key=lambda name: calls_by_arm[name]) if calls_by_arm else None


def instants(table: pa.Table, arm: str) -> list[Instant]:
    """Its calls on its own time line; seeds lie over each other."""
    rows = table.filter(pc.and_(pc.equal(table["arm"], arm), table["called"]))
    return [
        Instant(start / 1e9, None if latency is None else latency / 1e6)
        for start, latency in zip(
            rows["start_ns"].to_pylist(), rows["quantum_latency_ns"].to_pylist(), strict=True
        )
    ]


def over_time(arm: str, calls: Sequence[Instant], subtitle: Sequence[str]) -> Composed:
    """The heat map of one arm."""
    measured = tuple(sorted(call.latency_ms for call in calls if call.latency_ms is not None))
    y = log_ms_axis(
        [LatencySample(arm, measured, len(calls) - len(measured), None)], "quantum_latency, ms, log scale"
    )
    heat = Heat(
        f"quantum_latency over time: {arm}",
        "the arm's own time, s",
        calls,
        y,
        (MISSION_MS, "mission: 200 ms"),
    )
    return heat_map(heat, subtitle)


def over_time_grid(calls: Sequence[Instant]) -> Grid:
    """Calls, misses, fastest and slowest in each tenth of the run."""
    end_s = max((call.at_s for call in calls), default=0.0) or 1.0
    rows = []
    for part in range(_PARTS):
        own = [call for call in calls if min(_PARTS - 1, int(call.at_s / end_s * _PARTS)) == part]
        measured = [call.latency_ms for call in own if call.latency_ms is not None]
        ends = (ms(min(measured)), ms(max(measured))) if measured else (NOTHING, NOTHING)
        span = f"{part * end_s / _PARTS:.1f}–{(part + 1) * end_s / _PARTS:.1f}"
        rows.append((span, f"{len(own):,}", f"{len(own) - len(measured):,}", *ends))
    head = ("time, s", "calls", "missed", "fastest, ms", "slowest, ms")
    return plain("Calls by the time they were due", head, rows)
