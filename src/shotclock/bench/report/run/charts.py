"""The charts of a run, each with what it shows in words and the figures behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from shotclock.bench.judge.loss_curves import curve_against_time
from shotclock.bench.judge.money import find_prices
from shotclock.bench.record.arm_runs import BASELINE, SOLVERS
from shotclock.bench.report.kit.arm_styles import Look, looks
from shotclock.bench.report.kit.figure import Figure
from shotclock.bench.report.kit.latency_samples import samples
from shotclock.bench.report.kit.over_time import busiest, instants, over_time, over_time_grid
from shotclock.bench.report.kit.placeholder import sentence_chart, sentence_grid
from shotclock.bench.report.kit.tails import distribution, tail_latency
from shotclock.bench.report.kit.wording import mark_of, note_virtual_arms
from shotclock.bench.report.run import captions
from shotclock.bench.report.run.amdahl_chart import ceiling_grid, draw_amdahl
from shotclock.bench.report.run.break_even_chart import draw_break_even
from shotclock.bench.report.run.break_even_table import break_even_grid, findings
from shotclock.bench.report.run.chart_data import order_statistics, stage_means, within
from shotclock.bench.report.run.fabrics_chart import draw_fabrics
from shotclock.bench.report.run.fabrics_table import fabrics, fabrics_grid
from shotclock.bench.report.run.loss_chart import draw_losses, loss_grid
from shotclock.bench.report.run.money_chart import draw_loss_against_money, money_grid
from shotclock.bench.report.run.overview import (
    LATENCY_TITLE,
    draw_latency,
    find_latency_rows,
    tabulate_latency,
)
from shotclock.bench.report.run.overview_narrow import draw_narrow_latency, draw_narrow_training
from shotclock.bench.report.run.paired_seeds_chart import draw_paired_seeds, pairs_grid
from shotclock.bench.report.run.training_chart import TITLE, draw_training, tabulate_training
from shotclock.bench.report.run.waterfall_chart import draw_waterfalls, falls
from shotclock.bench.schema import Summary

_NO_PRICES = "The prices are unknown: this run's summary does not hold them."
_NO_PAIRS = "classical-only has no held-out loss at the last common step, so there is nothing to pair with."


def origin(summary: Summary) -> list[str]:
    """The line every chart carries: what made its figures, for when it is seen without the page."""
    marks = mark_of(summary)
    state = f", {summary.status.upper()}" if summary.status != "complete" else ""
    line = f"{marks}{state}: {summary.workload}, {summary.subject}; run {summary.run_id}"
    note = note_virtual_arms(summary)
    return [line, note] if note else [line]


@dataclass(frozen=True, slots=True)
class _Run:
    """What every chart is made from.

    summary: the run's summary.
    table: its rows.
    faces: the look of each arm, by name.
    origin: the line every chart carries.
    """

    summary: Summary
    table: pa.Table
    faces: dict[str, Look]
    origin: list[str]


def figures(summary: Summary, table: pa.Table) -> list[Figure]:
    """What can be drawn of this run: a chart without a single row behind it is left out."""
    run = _Run(_leave_out_solvers(summary), table, looks(summary.arms), origin(summary))
    return [figure for make in (_of_calls, _of_training, _of_worth) for figure in make(run)]


def _leave_out_solvers(summary: Summary) -> Summary:
    """Without the arms of weaker solvers, whose curves would cover the others; the tables have them."""
    arms = {name: arm for name, arm in summary.arms.items() if name not in SOLVERS}
    billed = tuple(course for course in summary.loss_against_money if course.arm not in SOLVERS)
    return summary.model_copy(update={"arms": arms, "loss_against_money": billed})


def overview(summary: Summary) -> list[Figure]:
    """The first screen: what a call adds by fabric, then loss and speed by arm."""
    line, first = origin(summary), []
    if rows := find_latency_rows(summary):
        first.append(
            Figure(
                "added_latency_by_fabric",
                LATENCY_TITLE,
                captions.OVERVIEW_LATENCY,
                draw_latency(rows, line),
                tabulate_latency(rows),
                draw_narrow_latency(rows, line),
            )
        )
    if any(arm.steps for arm in summary.arms.values()):
        faces = looks(summary.arms)
        first.append(
            Figure(
                "loss_and_throughput",
                TITLE,
                captions.OVERVIEW_TRAINING,
                draw_training(summary, faces, line),
                tabulate_training(summary),
                draw_narrow_training(summary, faces, line),
            )
        )
    return first


def _of_calls(run: _Run) -> Iterator[Figure]:
    """How long calls take."""
    summary, table, faces, line = run.summary, run.table, run.faces, run.origin
    quantum = samples(summary, table, "quantum_latency")
    added = samples(summary, table, "added_latency")
    if added:
        ranks = order_statistics({"quantum_latency": quantum, "added_latency": added})
        chart = tail_latency(quantum, added, faces, line)
        yield Figure("tail_latency", "Tail latency", captions.TAIL, chart, ranks)
    if quantum:
        chart = distribution(quantum, faces, line)
        title = "Share of calls with samples, by time"
        yield Figure("quantum_latency_ecdf", title, captions.DISTRIBUTION, chart, within(quantum))
    if beside := fabrics(summary, table):
        chart = draw_fabrics(beside, line)
        grid = fabrics_grid(beside)
        yield Figure("fabrics_side_by_side", "Fabrics side by side", captions.FABRICS, chart, grid)
    if (arm := busiest(summary)) is not None and (calls := instants(table, arm)):
        chart = over_time(arm, calls, line)
        title = "quantum_latency over time"
        yield Figure("latency_over_time", title, captions.OVER_TIME, chart, over_time_grid(calls))
    if added:
        stages = falls(summary, table)
        title = "Mean time of a call by stage"
        chart = draw_waterfalls(stages, line)
        yield Figure("stage_waterfall", title, captions.WATERFALL, chart, stage_means(stages))


def _of_training(run: _Run) -> Iterator[Figure]:
    """What calls do to the training, and what it learnt."""
    summary, table, faces, line = run.summary, run.table, run.faces, run.origin
    if bounded := summary.amdahl:
        chart = draw_amdahl(bounded, faces, line)
        grid = ceiling_grid(bounded)
        yield Figure("amdahl_ceiling", "What faster calls could give, at most", captions.AMDAHL, chart, grid)
    if evaluated := curve_against_time(summary, table):
        chart = draw_losses(evaluated, faces, line)
        title = "Held-out loss"
        yield Figure("held_out_loss", title, captions.LOSSES, chart, loss_grid(evaluated))
    title = "Held-out loss, paired by seed"
    if paired := summary.paired_seeds:
        chart = draw_paired_seeds(paired, faces, line)
        yield Figure("paired_seeds", title, captions.SEEDS, chart, pairs_grid(paired))
    elif any(arm.loss.per_seed for name, arm in summary.arms.items() if name != BASELINE):
        yield _sentence_figure("paired_seeds", title, captions.SEEDS, _NO_PAIRS, line)


def _of_worth(run: _Run) -> Iterator[Figure]:
    """What it cost."""
    summary, table, faces, line = run.summary, run.table, run.faces, run.origin
    if not curve_against_time(summary, table):
        return
    paid, paid_title = "loss_against_money", "Held-out loss against money"
    even, even_title = "break_even", "Break-even: round trip against price"
    has_calls = any(arm.calls_quantum and arm.calls for arm in summary.arms.values())
    if (at := find_prices(summary)) is None:
        yield _sentence_figure(paid, paid_title, captions.MONEY, _NO_PRICES, line)
        if has_calls:
            yield _sentence_figure(even, even_title, captions.BREAK_EVEN, _NO_PRICES, line)
        return
    if billed := summary.loss_against_money:
        chart = draw_loss_against_money(billed, at, faces, line)
        yield Figure(paid, paid_title, captions.MONEY, chart, money_grid(billed, at.currency))
    if break_even := summary.break_even:
        chart = draw_break_even(break_even, faces, line)
        caption = f"{captions.BREAK_EVEN} {findings(break_even)}"
        yield Figure(even, even_title, caption, chart, break_even_grid(break_even))
    elif has_calls:
        why = "No call of a QPU was answered and billed, or an accelerator's hour is free in the settings."
        yield _sentence_figure(even, even_title, captions.BREAK_EVEN, why, line)


def _sentence_figure(name: str, title: str, caption: str, sentence: str, line: list[str]) -> Figure:
    return Figure(
        name, title, f"{sentence} {caption}", sentence_chart(title, sentence, line), sentence_grid(sentence)
    )
