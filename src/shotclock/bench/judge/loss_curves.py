"""The held-out loss against wall time or money, one curve per arm."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

import pyarrow as pa

from shotclock.bench.analysis import LossCurve, LossPoint
from shotclock.bench.schema import Summary


def curve_against_time(summary: Summary, table: pa.Table) -> tuple[LossCurve, ...]:
    """The loss of every evaluated arm against its wall time, seconds."""
    columns = ("arm", "seed", "step", "start_ns", "total_iteration_time_ns", "eval_loss")
    rows = zip(*(table[name].to_pylist() for name in columns), strict=True)
    return make_curves(
        summary.arms,
        (
            (arm, seed, step, (start + took) / 1e9, loss)
            for arm, seed, step, start, took, loss in rows
            if loss is not None
        ),
    )


def make_curves(
    arms: Iterable[str], evaluations: Iterable[tuple[str, int, int, float, float]]
) -> tuple[LossCurve, ...]:
    """Curves of the arms with a finite loss, from (arm, seed, step, spent until then, loss).

    Steps that only some seeds reached (in an interrupted run) use those seeds.
    """
    seeds: dict[str, set[int]] = {}
    by_step: dict[str, dict[int, list[tuple[float, float]]]] = {}
    for arm, seed, step, spent, loss in evaluations:
        if math.isfinite(loss):
            seeds.setdefault(arm, set()).add(seed)
            by_step.setdefault(arm, {}).setdefault(step, []).append((spent, loss))
    return tuple(
        LossCurve(
            arm=arm,
            seeds=len(seeds[arm]),
            points=tuple(_make_point(*values) for values in sorted(by_step[arm].items())),
        )
        for arm in arms
        if arm in by_step
    )


def _make_point(step: int, values: Sequence[tuple[float, float]]) -> LossPoint:
    losses = [loss for _, loss in values]
    return LossPoint(
        step=step,
        spent=fmean(spent for spent, _ in values),
        mean=fmean(losses),
        low=min(losses),
        high=max(losses),
    )
