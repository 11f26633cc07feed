"""What faster quantum calls could give the training at most, drawn; the law: `bench.judge.amdahl`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shotclock.bench.analysis import Ceiling
from shotclock.bench.judge.amdahl import speed_up
from shotclock.bench.numbers import number, percent
from shotclock.bench.report.kit.arm_styles import Look
from shotclock.bench.report.kit.compose import Composed
from shotclock.bench.report.kit.grid import Grid, plain
from shotclock.bench.report.kit.panel import Axis, Curve, Panel, draw, rule, with_title

_WIDTH, _HEIGHT = 600, 290
_FASTEST = 1_000.0
"""The right edge: calls so many times faster, where every curve is close to its ceiling."""
_POINTS = 60
_ROOM = 0.06
"""Above the highest curve, as a share of the axis."""
_MARKS = (1.0, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
_MOST_MARKS = 7
"""With more, those between 1 and 2 would run into each other and are left out."""


def draw_amdahl(ceilings: dict[str, Ceiling], faces: dict[str, Look], subtitle: Sequence[str]) -> Composed:
    """Speed-up of the training against that of its calls, both logarithmic."""
    top = max(speed_up(ceiling.share, _FASTEST) for ceiling in ceilings.values())
    y_high = math.log10(top) + _ROOM * max(1.0, math.log10(top))
    decades = range(int(math.log10(_FASTEST)) + 1)
    x = Axis(
        0.0,
        math.log10(_FASTEST),
        tuple(map(float, decades)),
        tuple(f"{10**d:,}×" for d in decades),
        "calls so many times faster, log scale",
    )
    inside = [mark for mark in _MARKS if math.log10(mark) <= y_high]
    shown = inside if len(inside) <= _MOST_MARKS else [mark for mark in inside if mark >= 2 or mark == 1]
    y = Axis(
        0.0,
        y_high,
        tuple(math.log10(mark) for mark in shown),
        tuple(f"{mark:g}×" for mark in shown),
        "training so many times faster, log scale",
    )
    panel = Panel(
        tuple(_curve(arm, ceiling) for arm, ceiling in ceilings.items()),
        x,
        y,
        _WIDTH,
        _HEIGHT,
        "",
        stepped=False,
        leaders=True,
    )
    chart = draw(panel, faces, rule(1.0, "calls 10 times faster", panel, vertical=True))
    return with_title(chart, "What faster calls could give, at most", subtitle)


def _curve(arm: str, ceiling: Ceiling) -> Curve:
    places = [math.log10(_FASTEST) * i / _POINTS for i in range(_POINTS + 1)]
    points = tuple((place, math.log10(speed_up(ceiling.share, 10**place))) for place in places)
    marks = tuple((float(d), math.log10(speed_up(ceiling.share, 10.0**d))) for d in range(4))
    return Curve(arm, points, marks, f"{arm}  (ceiling {_times(speed_up(ceiling.share, math.inf))})")


def ceiling_grid(ceilings: dict[str, Ceiling]) -> Grid:
    """The shares behind the curves."""
    rows = [
        (
            arm,
            number(ceiling.total_s),
            number(ceiling.blocked_s),
            percent(ceiling.share),
            _times(speed_up(ceiling.share, 10.0)),
            _times(speed_up(ceiling.share, math.inf)),
        )
        for arm, ceiling in ceilings.items()
    ]
    head = ("arm", "training, s", "blocked by calls, s", "share", "calls 10× faster", "calls for nothing")
    return plain("Time blocked by calls, and the speed-up of the training without it", head, rows)


def _times(value: float) -> str:
    return "without bound" if math.isinf(value) else f"{number(value)}×"
