"""The charts of a run, each with what it shows in words and the figures behind it."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from shotclock.bench.report.amdahl import amdahl, ceiling_grid, ceilings
from shotclock.bench.report.chart_data import loss_courses, order_statistics, stage_means, within
from shotclock.bench.report.grid import Grid
from shotclock.bench.report.lines import Composed
from shotclock.bench.report.looks import looks
from shotclock.bench.report.losses import courses, losses
from shotclock.bench.report.over_time import busiest, instants, over_time, over_time_grid
from shotclock.bench.report.samples import samples
from shotclock.bench.report.tails import distribution, tail_latency
from shotclock.bench.report.waterfall import falls, waterfall
from shotclock.bench.report.words import mark_of
from shotclock.bench.schema import Summary

_TAIL = (
    "How slow the slowest calls are. Read upwards from a percentile: that share of an arm's calls took no "
    "longer than the curve's height. Each curve ends where its sample size does (the slowest of n calls "
    "stands at 1 − 1/n), and where calls brought no samples it leaves by the top edge (arrow). Both axes are "
    "logarithmic."
)
_DISTRIBUTION = (
    "How many calls had decoded samples within a time. The further left and the higher, the better; a curve "
    "that stops below 100 % missed the rest. The names tell the counts."
)
_WATERFALL = (
    "What an average call waits for, stage after stage. Outlined is waiting that the emulation did on "
    "purpose, solid is software's own time. A call that never reached a stage counts there as 0, so that the "
    "bars add up. Each panel has its own time scale."
)
_LOSSES = (
    "What the training got for the time it spent. Left: the further left a curve falls, the sooner that arm "
    "learnt; right: the same by step, where waiting does not count. Lines are means over seeds; bands, "
    "left, go from the least to the greatest."
)
_OVER_TIME = (
    "What a percentile hides: one stall is a stripe here, a slow start a slope. Darker is more calls; calls "
    "without samples are in the strip above. The arm with most calls of a QPU as it is; seeds lie over each "
    "other."
)
_AMDAHL = (
    "How much faster the training could be at most if its calls were, everything else left as it is "
    "(Amdahl's law). A flat line says that calls hardly block this arm; a rising one what a nearer or "
    "quicker QPU would be worth."
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart to draw. name: of its files; grid: its figures."""

    name: str
    title: str
    caption: str
    chart: Composed
    grid: Grid


def origin(summary: Summary) -> list[str]:
    """The line every chart carries: what made its figures, for when it is seen without the page."""
    marks = mark_of(summary)
    state = f", {summary.status.upper()}" if summary.status != "complete" else ""
    return [f"{marks}{state}: {summary.workload}, {summary.kernel}, n = {summary.n}; run {summary.run_id}"]


def figures(summary: Summary, table: pa.Table) -> list[Figure]:
    """What can be drawn of this run: a chart without a single row behind it is left out."""
    faces, line = looks(summary.arms), origin(summary)
    quantum = samples(summary, table, "quantum_latency")
    added = samples(summary, table, "added_latency")
    found = []
    if added:
        ranks = order_statistics({"quantum_latency": quantum, "added_latency": added})
        chart = tail_latency(quantum, added, faces, line)
        found.append(Figure("tail_latency", "Tail latency by arm", _TAIL, chart, ranks))
    if quantum:
        chart = distribution(quantum, faces, line)
        title = "Distribution of quantum_latency by arm"
        found.append(Figure("quantum_latency_ecdf", title, _DISTRIBUTION, chart, within(quantum)))
    if (arm := busiest(summary)) is not None and (calls := instants(table, arm)):
        chart = over_time(arm, calls, line)
        title = "quantum_latency over time"
        found.append(Figure("latency_over_time", title, _OVER_TIME, chart, over_time_grid(calls)))
    if added:
        stages = falls(summary, table)
        title = "Mean time of a call by stage"
        found.append(
            Figure("stage_waterfall", title, _WATERFALL, waterfall(stages, line), stage_means(stages))
        )
    if bounded := ceilings(summary, table):
        chart = amdahl(bounded, faces, line)
        found.append(
            Figure("amdahl_ceiling", "Amdahl's ceiling by arm", _AMDAHL, chart, ceiling_grid(bounded))
        )
    evaluated = courses(summary, table)
    if evaluated:
        chart = losses(evaluated, faces, line)
        title = "Held-out loss by arm"
        found.append(Figure("held_out_loss", title, _LOSSES, chart, loss_courses(evaluated)))
    return found
