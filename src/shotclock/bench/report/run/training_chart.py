"""The first screen's second chart: held-out loss and training speed by arm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import altair as alt

from shotclock.bench.numbers import NOTHING, number, percent
from shotclock.bench.record.arm_runs import BASELINE
from shotclock.bench.report.kit.arm_styles import INK, Look
from shotclock.bench.report.kit.axes import about_all, linear, logarithmic
from shotclock.bench.report.kit.compose import Composed, lay_over, set_beside
from shotclock.bench.report.kit.grid import Cell, Grid, plain
from shotclock.bench.report.kit.panel import Axis, Row, data, with_title
from shotclock.bench.report.kit.wording import mark_arm
from shotclock.bench.report.run.overview import encode_x
from shotclock.bench.schema import ArmSummary, Summary

TITLE = "What the training got, and how fast"
_LOSS_PX, _SPEED_PX, _ROW_PX, _ROOM = 220, 300, 19, 1.3


@dataclass(frozen=True, slots=True)
class TrainingPanel:
    """One half of the chart.

    arms: rows from the top.
    rows: by arm, x, its figure as text, and low and high: the ends of its line.
    axis: holds them all.
    """

    arms: tuple[str, ...]
    rows: tuple[Row, ...]
    axis: Axis

    def mark(self, faces: dict[str, Look], y: alt.Y) -> list[alt.Chart]:
        """A point an arm on its line."""
        scale = alt.Scale(domain=list(self.arms), range=[faces[arm].colour for arm in self.arms])
        colour, x = alt.Color("arm:N", legend=None, scale=scale), encode_x(self.axis)
        base = alt.Chart(data(self.rows))
        return [
            base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2=alt.X2("high:Q"), y=y, color=colour),
            base.mark_point(size=70, filled=True, opacity=1).encode(x=x, y=y, color=colour),
        ]


def find_losses(summary: Summary) -> TrainingPanel:
    """The loss at the last common step of every arm that trained, with its least and most over seeds."""
    arms = _list_trained_arms(summary)
    per_seed = {arm: summary.arms[arm].loss.per_seed.values() for arm in arms}
    losses = {arm: [loss for loss in each if math.isfinite(loss)] for arm, each in per_seed.items()}
    values = [loss for each in losses.values() for loss in each] or [0.0]
    axis = linear(*about_all(values, 0.15), 4, "held-out loss (lower is better)")
    rows: list[Row] = [
        {"arm": arm, "x": fmean(each), "low": min(each), "high": max(each), "words": number(fmean(each))}
        for arm, each in losses.items()
        if each
    ]
    return TrainingPanel(arms, tuple(rows), axis)


def find_speeds(summary: Summary) -> TrainingPanel:
    """The samples a second of every arm that trained, on a line from classical-only's."""
    arms = _list_trained_arms(summary)
    speeds = {arm: summary.throughput[arm].samples_per_s for arm in arms if arm in summary.throughput}
    measured = {arm: speed for arm, speed in speeds.items() if speed}
    low, high = min(measured.values(), default=1.0), max(measured.values(), default=1.0)
    axis = logarithmic(low / _ROOM, high * _ROOM, "training samples/s, log scale (higher is better)")
    rows: list[Row] = []
    for arm, speed in measured.items():
        ends = sorted((speed, measured.get(BASELINE, speed)))
        place, low_end, high_end = (math.log10(each) for each in (speed, *ends))
        words = _describe_speed(summary, arm)
        rows.append({"arm": arm, "x": place, "low": low_end, "high": high_end, "words": words})
    return TrainingPanel(arms, tuple(rows), axis)


def _describe_speed(summary: Summary, name: str) -> str:
    """`15,191/s, 237 iterations/s; heron-torino, inline`: the fabric is in the arm's name."""
    throughput, arm = summary.throughput[name], summary.arms[name]
    figures = f"{number(throughput.samples_per_s)}/s, {number(throughput.iterations_per_s)} iterations/s"
    run = ", ".join(each for each in (arm.device, _describe_meeting(arm)) if each)
    return f"{figures}; {run}" if run else figures


def _describe_meeting(arm: ArmSummary) -> str:
    """Whether training waited for the calls; "" without calls."""
    if arm.meeting is None or not arm.calls:
        return (arm.mode or "") if arm.calls else ""
    met = arm.meeting
    if met.inline and met.overlapped:
        return f"{percent(met.overlapped / (met.inline + met.overlapped))} overlapped"
    return "overlapped" if met.overlapped else "inline"


def _list_trained_arms(summary: Summary) -> tuple[str, ...]:
    return tuple(name for name, arm in summary.arms.items() if arm.steps)


def draw_training(summary: Summary, faces: dict[str, Look], subtitle: Sequence[str]) -> Composed:
    """Left the loss at the last common step with its least and most over seeds; right the speeds."""
    left = _draw_panel(find_losses(summary), faces, _LOSS_PX, has_names=True)
    right = _draw_panel(find_speeds(summary), faces, _SPEED_PX, has_names=False)
    return with_title(set_beside([left, right], spacing=56), TITLE, subtitle)


def _draw_panel(panel: TrainingPanel, faces: dict[str, Look], width_px: int, *, has_names: bool) -> Composed:
    arms = list(panel.arms)
    axis = alt.Axis(title=None, labels=has_names, labelLimit=220, labelFontSize=12, ticks=False, domain=False)
    y = alt.Y("arm:N", sort=arms, scale=alt.Scale(domain=arms), axis=axis)
    text = alt.Chart(data(panel.rows)).mark_text(align="left", dx=6, fontSize=11, color=INK)
    layers = [
        *panel.mark(faces, y),
        text.encode(x=alt.value(width_px), y=y, text=alt.Text("words:N")),
    ]
    return lay_over(layers, width=width_px, height=_ROW_PX * len(arms))


def tabulate_training(summary: Summary) -> Grid:
    """Loss and speed in print, with what makes an arm's speed."""
    baseline = summary.throughput.get(BASELINE)
    rows = []
    for name, arm in summary.arms.items():
        throughput = summary.throughput.get(name)
        samples_per_s = throughput.samples_per_s if throughput else arm.samples_per_s
        base = baseline.samples_per_s if baseline else None
        rows.append(
            (
                Cell(name, mark_arm(summary, arm)),
                arm.profile or NOTHING,
                arm.device or NOTHING,
                _describe_meeting(arm) or NOTHING,
                number(arm.loss.mean),
                number(samples_per_s),
                number(throughput.iterations_per_s if throughput else None),
                percent(samples_per_s / base) if samples_per_s and base else NOTHING,
            )
        )
    head = ("arm", "fabric", "device", "calls", "held-out loss, mean", "samples/s", "iterations/s")
    title = "Loss at the last common step and training speed, by arm"
    return plain(title, (*head, f"of {BASELINE}"), rows, words=4)
