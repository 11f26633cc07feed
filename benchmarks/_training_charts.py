"""The late answers as charts: calls in flight on K1, steps of staleness on K3, blind against revalidated."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import altair as alt

from _training_stale import Stale
from shotclock.bench.report.kit.arm_styles import looks
from shotclock.bench.report.kit.panel import Axis, Curve, Panel, draw, rule, with_title
from shotclock.bench.report.kit.render import standalone, svg

WIDTH, HEIGHT = 420, 260
NAMES = ("in-flight.svg", "staleness.svg")


def write(in_flight: list[Stale], after_steps: list[Stale], folder: Path) -> None:
    """Two SVG files in the folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, drawn in zip(NAMES, (_in_flight(in_flight), _staleness(after_steps)), strict=True):
        (folder / name).write_text(drawn, encoding="utf-8")


def _in_flight(stale_rows: list[Stale]) -> str:
    ratios = (0.02, 0.1, 0.5, 2.0, 10.0, 50.0)
    y = Axis(
        math.log10(ratios[0]),
        math.log10(ratios[-1]),
        tuple(map(math.log10, ratios)),
        tuple(f"{ratio:g}" for ratio in ratios),
        "row loss ÷ nearest rounding, log scale",
    )

    def logarithm(ratio: float) -> float:
        return math.log10(min(max(ratio, ratios[0]), ratios[-1]))

    panel = _panel(stale_rows, logarithm, y, "calls in flight on one row, D")
    subtitle = ["K1 rounding after 24 calls a row; mean and 95 % interval over seeds"]
    nearest = rule(0.0, "nearest rounding", panel)
    return _draw(panel, nearest, stale_rows, "What calls in flight do to a row", subtitle)


def _staleness(stale_rows: list[Stale]) -> str:
    ends = [stale.figure.mean + sign * stale.figure.half for stale in stale_rows for sign in (-1, 1)]
    step = 5.0 if max(ends) - min(ends) < 40 else 20.0
    ticks = [step * k for k in range(math.floor(min(ends) / step), math.ceil(max(ends) / step) + 1)]
    y = Axis(
        ticks[0],
        ticks[-1],
        tuple(ticks),
        tuple(f"{tick:+g}" if tick else "0" for tick in ticks),
        "change of loss × 10³",
    )
    panel = _panel(stale_rows, float, y, "age of the answer in optimizer steps, s")
    subtitle = ["K3 qat_flip, change of the training loss by one answer; mean and 95 % interval over seeds"]
    return _draw(panel, rule(0.0, "no change", panel), stale_rows, "What an answer's age does", subtitle)


def _panel(stale_rows: list[Stale], scaled: Callable[[float], float], y: Axis, title: str) -> Panel:
    """One curve a policy; the lags stand at equal distances, as they grow about geometrically."""
    lags = sorted({stale.lag for stale in stale_rows})
    x = Axis(
        -0.1, len(lags) - 0.9, tuple(map(float, range(len(lags)))), tuple(str(lag) for lag in lags), title
    )
    curves = []
    for policy, group in groupby(stale_rows, key=lambda stale: str(stale.policy)):
        points, band = [], []
        for place, stale in enumerate(sorted(group, key=lambda stale: stale.lag)):
            mean, half = stale.figure.mean, stale.figure.half
            points.append((float(place), scaled(mean)))
            band.append((float(place), scaled(mean - half), scaled(mean + half)))
        curves.append(Curve(policy, tuple(points), tuple(points), policy, tuple(band)))
    return Panel(tuple(curves), x, y, WIDTH, HEIGHT, "", stepped=False, leaders=True)


def _draw(
    panel: Panel, lines: list[alt.Chart], stale_rows: list[Stale], title: str, subtitle: list[str]
) -> str:
    arms = looks(dict.fromkeys(str(stale.policy) for stale in stale_rows))
    return standalone(svg(with_title(draw(panel, arms, lines), title, subtitle)))
