"""The held-out loss along what a run spends, wall time or money: a curve an arm."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

import pyarrow as pa

from shotclock.bench.schema import LossCurve, LossPoint, Summary


def curve_against_time(summary: Summary, table: pa.Table) -> tuple[LossCurve, ...]:
    """A curve for every arm that was evaluated at least once, over its wall time, s."""
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
    """From (arm, seed, step, spent until then, loss): one for each of the arms that has a finite loss.

    Steps that some seeds never reached (an interrupted run) keep the seeds that did.
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
