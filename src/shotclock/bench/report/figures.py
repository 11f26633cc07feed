"""The four charts of a run, each with what it shows in words and the figures behind it."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from shotclock.bench.report.chart_data import loss_courses, order_statistics, stage_means, within
from shotclock.bench.report.grid import Grid
from shotclock.bench.report.lines import Composed
from shotclock.bench.report.looks import looks
from shotclock.bench.report.losses import courses, losses
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
    if added:
        stages = falls(summary, table)
        title = "Mean time of a call by stage"
        found.append(
            Figure("stage_waterfall", title, _WATERFALL, waterfall(stages, line), stage_means(stages))
        )
    evaluated = courses(summary, table)
    if evaluated:
        chart = losses(evaluated, faces, line)
        title = "Held-out loss by arm"
        found.append(Figure("held_out_loss", title, _LOSSES, chart, loss_courses(evaluated)))
    return found
