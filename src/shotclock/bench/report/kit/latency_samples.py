"""Latencies of one arm as order statistics, misses ranked above every measured one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from shotclock.bench.report.kit.panel import Axis
from shotclock.bench.schema import Summary

MISSION_MS = 200.0
"""The specification's limit on the latency of a hybrid call."""
Figure = Literal["added_latency", "quantum_latency"]
_DRAWN = 400


@dataclass(frozen=True, slots=True)
class LatencySample:
    """The latencies of one arm or class.

    arm: its name, or "".
    measured_ms: ascending.
    missed: calls without samples.
    ceiling_ms: where they were censored; None where they were not.
    """

    arm: str
    measured_ms: tuple[float, ...]
    missed: int
    ceiling_ms: float | None

    @property
    def n(self) -> int:
        """All calls, misses included: the denominator of every share."""
        return len(self.measured_ms) + self.missed

    def ranks(self, most: int = _DRAWN) -> list[int]:
        """0-based ranks to draw: all of them, or about `most`, evenly over the middle and over the tail."""
        count = len(self.measured_ms)
        if count <= most:
            return list(range(count))
        half = most // 2
        even = {round(i * (count - 1) / half) for i in range(half + 1)}
        tail = {count - round(count ** (i / half)) for i in range(half + 1)}
        return sorted(even | tail)


def samples(summary: Summary, table: pa.Table, figure: Figure) -> list[LatencySample]:
    """One sample an arm that has the figure: quantum_latency only where calls go to a QPU."""
    samples = []
    for name, arm in summary.arms.items():
        rows = table.filter(pc.and_(pc.equal(table["arm"], name), table["called"]))
        if rows.num_rows == 0 or (figure == "quantum_latency" and not arm.calls_quantum):
            continue
        if figure == "quantum_latency":
            rows = rows.filter(pc.invert(pc.fill_null(rows["cached"], False)))  # no call of the QPU
        column = rows[f"{figure}_ns"]
        measured = sorted(value / 1e6 for value in column.drop_null().to_pylist())
        samples.append(LatencySample(name, tuple(measured), column.null_count, arm.deadline_ms))
    return samples


def log_ms(value_ms: float) -> float:
    """log10 of a latency in ms; what reads zero is drawn at the clock's nanosecond."""
    return math.log10(max(value_ms, 1e-6))


def log_ms_axis(samples: list[LatencySample], title: str, limit_ms: float = MISSION_MS) -> Axis:
    """About every measured value and the limit, some room around them.

    Ticks at powers of ten; where those would be too few, at twice and five times them too.
    """
    values = [log_ms(v) for s in samples if s.measured_ms for v in (s.measured_ms[0], s.measured_ms[-1])]
    values.append(log_ms(limit_ms))
    low, high = min(values) - 0.2, max(values) + 0.25
    within = (1,) if high - low > 2.5 else (1, 2, 5)
    decades = range(math.floor(low), math.ceil(high) + 1)
    ticks = tuple(t for d in decades for m in within if low <= (t := d + math.log10(m)) <= high)
    return Axis(low, high, ticks, tuple(f"{10**t:,.6g}" for t in ticks), title)
