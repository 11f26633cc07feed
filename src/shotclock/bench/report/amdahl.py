"""What faster quantum calls could give the training at most, by Amdahl's law.

G. M. Amdahl, AFIPS 1967: with a share f of the time made s times faster, the whole becomes
1 / ((1 − f) + f/s) times faster, and 1 / (1 − f) at most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from shotclock.bench.numbers import number, percent
from shotclock.bench.report.grid import Grid, plain
from shotclock.bench.report.lines import Axis, Composed, Curve, Panel, draw, dressed, rule
from shotclock.bench.report.looks import Look
from shotclock.bench.schema import Summary

_FASTEST = 1_000.0
_POINTS = 60
_ROOM = 0.06


@dataclass(frozen=True, slots=True)
class Ceiling:
    """An arm's training time, and the part of it spent blocked by calls, seconds."""

    arm: str
    total_s: float
    blocked_s: float

    @property
    def share(self) -> float:
        """Of the time, blocked by calls."""
        return min(1.0, self.blocked_s / self.total_s) if self.total_s else 0.0

    def speedup(self, faster: float) -> float:
        """Of the training, with calls so many times faster; infinity is a call that blocks for nothing."""
        left = (1 - self.share) + self.share / faster
        return 1 / left if left else math.inf


def ceilings(summary: Summary, table: pa.Table) -> list[Ceiling]:
    """Of every arm that calls a QPU."""
    found = []
    for name, arm in summary.arms.items():
        rows = table.filter(pc.equal(table["arm"], name))
        blocked_ns = pc.sum(rows["added_latency_ns"]).as_py()
        if arm.calls_quantum and blocked_ns:
            total_ns = pc.sum(rows["total_iteration_time_ns"]).as_py()
            found.append(Ceiling(name, total_ns / 1e9, blocked_ns / 1e9))
    return found


def amdahl(found: list[Ceiling], faces: dict[str, Look], subtitle: Sequence[str]) -> Composed:
    """Speed-up of the training against that of its calls, both logarithmic."""
    top = max(one.speedup(_FASTEST) for one in found)
    y_high = math.log10(top) + _ROOM * max(1.0, math.log10(top))
    decades = range(int(math.log10(_FASTEST)) + 1)
    x = Axis(
        0.0,
        math.log10(_FASTEST),
        tuple(map(float, decades)),
        tuple(f"{10**d:,}×" for d in decades),
        "calls so many times faster, log scale",
    )
    marks = (1.0, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
    inside = [mark for mark in marks if math.log10(mark) <= y_high]
    shown = inside if len(inside) <= 7 else [mark for mark in inside if mark >= 2 or mark == 1]
    y = Axis(
        0.0,
        y_high,
        tuple(math.log10(mark) for mark in shown),
        tuple(f"{mark:g}×" for mark in shown),
        "training so many times faster, log scale",
    )
    panel = Panel(tuple(_curve(one) for one in found), x, y, 600, 290, "", stepped=False, leaders=True)
    chart = draw(panel, faces, rule(1.0, "calls 10 times faster", panel, vertical=True))
    return dressed(chart, "What faster calls could give, at most", subtitle)


def _curve(one: Ceiling) -> Curve:
    places = [math.log10(_FASTEST) * i / _POINTS for i in range(_POINTS + 1)]
    points = tuple((place, math.log10(one.speedup(10**place))) for place in places)
    marks = tuple((float(d), math.log10(one.speedup(10.0**d))) for d in range(4))
    return Curve(one.arm, points, marks, f"{one.arm}  (ceiling {_times(one.speedup(math.inf))})")


def ceiling_grid(found: list[Ceiling]) -> Grid:
    """The shares behind the curves."""
    rows = [
        (
            one.arm,
            number(one.total_s),
            number(one.blocked_s),
            percent(one.share),
            _times(one.speedup(10.0)),
            _times(one.speedup(math.inf)),
        )
        for one in found
    ]
    head = ("arm", "training, s", "blocked by calls, s", "share", "calls 10× faster", "calls for nothing")
    return plain("Time blocked by calls, and the speed-up of the training without it", head, rows)


def _times(value: float) -> str:
    return "without bound" if math.isinf(value) else f"{number(value)}×"
