"""Held-out losses paired by seed, drawn; what they are: `bench.judge.paired_seeds`."""

from __future__ import annotations

import json
from collections.abc import Sequence

import altair as alt

from shotclock.bench.analysis import PairedSeeds
from shotclock.bench.numbers import NOTHING, number
from shotclock.bench.record.arm_runs import BASELINE
from shotclock.bench.report.kit.arm_styles import INK, Look
from shotclock.bench.report.kit.axes import about_all, linear
from shotclock.bench.report.kit.compose import Composed, lay_over
from shotclock.bench.report.kit.grid import Cell, Grid, plain
from shotclock.bench.report.kit.panel import Axis, Row, data, with_title

_WIDTH, _ROW_PX, _SPREAD_PX = 520, 46, 26


def _format_signed(value: float) -> str:
    return f"+{number(value)}" if value > 0 else number(value).replace("-", "−")


def _word_mean(arm_seeds: PairedSeeds) -> str:
    interval = (
        f"({_format_signed(arm_seeds.interval[0])} to {_format_signed(arm_seeds.interval[1])})"
        if arm_seeds.interval
        else ""
    )
    return f"{_format_signed(arm_seeds.mean)} {interval or '(one seed: no interval)'}"


def draw_paired_seeds(
    differences: Sequence[PairedSeeds], faces: dict[str, Look], subtitle: Sequence[str]
) -> Composed:
    """An arm a row: open dots are seeds, first at the top; the marker is their mean with its interval."""
    values = [0.0, *(value for arm_seeds in differences for value in arm_seeds.differences.values())]
    values += [end for arm_seeds in differences if arm_seeds.interval for end in arm_seeds.interval]
    x = linear(
        *about_all(values, 0.05), 7, f"held-out loss minus {BASELINE}'s, same seed (below 0: learnt more)"
    )
    chart = lay_over(_layers(differences, faces, x), width=_WIDTH, height=_ROW_PX * len(differences))
    return with_title(chart, "Held-out loss, paired by seed", subtitle)


def _layers(differences: Sequence[PairedSeeds], faces: dict[str, Look], axis: Axis) -> list[alt.Chart]:
    x = alt.X("x:Q", scale=alt.Scale(domain=[axis.low, axis.high], nice=False), axis=axis.encode())
    arms = [arm_seeds.arm for arm_seeds in differences]
    lines = alt.Axis(
        title=None,
        values=[i + 0.5 for i in range(len(differences))],
        labelExpr=f"{json.dumps(arms)}[floor(datum.value)]",
        labelLimit=260,
        grid=False,
        ticks=False,
        domain=False,
    )
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, len(differences)], reverse=True, nice=False), axis=lines)
    nothing = alt.Chart(data([{"x": 0.0, "y": 0.0, "y2": float(len(differences))}]))
    means, seeds = _rows(differences)
    base = alt.Chart(data(means))
    colours, shapes = [faces[arm].colour for arm in arms], [faces[arm].shape for arm in arms]
    colour = alt.Color("arm:N", legend=None, scale=alt.Scale(domain=arms, range=colours))
    shape = alt.Shape("arm:N", legend=None, scale=alt.Scale(domain=arms, range=shapes))
    wide = base.transform_filter("datum.low < datum.high")
    caps = [
        wide.mark_tick(thickness=1.6, size=9, opacity=1, orient="vertical").encode(
            x=f"{end}:Q", y=y, color=colour
        )
        for end in ("low", "high")
    ]
    return [
        nothing.mark_rule(color=INK, strokeWidth=1, strokeDash=[1, 3]).encode(x=x, y=y, y2=alt.Y2("y2:Q")),
        wide.mark_rule(strokeWidth=1.6).encode(x=alt.X("low:Q"), x2=alt.X2("high:Q"), y=y, color=colour),
        *caps,
        alt.Chart(data(seeds)).mark_point(size=26, stroke=INK, strokeWidth=1, opacity=0.8).encode(x=x, y=y),
        base.mark_point(size=80, filled=True, opacity=1).encode(x=x, y=y, color=colour, shape=shape),
        base.mark_text(align="left", dx=12, fontSize=11, color=INK).encode(
            x=alt.value(_WIDTH), y=y, text=alt.Text("words:N")
        ),
    ]


def _rows(differences: Sequence[PairedSeeds]) -> tuple[list[Row], list[Row]]:
    """Means with their intervals, and the seeds of each, spread over the height of its row."""
    means: list[Row] = []
    seeds: list[Row] = []
    for row, arm_seeds in enumerate(differences):
        low, high = arm_seeds.interval or (arm_seeds.mean, arm_seeds.mean)
        means.append(
            {
                "arm": arm_seeds.arm,
                "x": arm_seeds.mean,
                "low": low,
                "high": high,
                "y": row + 0.5,
                "words": _word_mean(arm_seeds),
            }
        )
        step = _SPREAD_PX / _ROW_PX / max(1, len(arm_seeds.differences) - 1)
        first = row + 0.5 - step * (len(arm_seeds.differences) - 1) / 2
        seeds += [
            {"x": value, "y": first + step * i} for i, value in enumerate(arm_seeds.differences.values())
        ]
    return means, seeds


def pairs_grid(differences: Sequence[PairedSeeds]) -> Grid:
    """Every difference, their mean and its interval."""
    seeds = sorted({seed for arm_seeds in differences for seed in arm_seeds.differences})
    rows: list[tuple[str | Cell, ...]] = []
    for arm_seeds in differences:
        own = arm_seeds.differences
        each = (_format_signed(own[seed]) if seed in own else NOTHING for seed in seeds)
        interval = (
            f"{_format_signed(arm_seeds.interval[0])} to {_format_signed(arm_seeds.interval[1])}"
            if arm_seeds.interval
            else "one seed"
        )
        rows.append(
            (
                arm_seeds.arm,
                *each,
                Cell(_format_signed(arm_seeds.mean), look="total"),
                interval,
                f"{arm_seeds.unpaired}",
            )
        )
    head = ("arm", *(f"seed {seed}" for seed in seeds), "mean", "95 % interval", "unpaired")
    return plain(
        f"Held-out loss minus {BASELINE}'s, by seed; unpaired: seeds that one of both has no loss for",
        head,
        rows,
    )
