"""The page's table of calls that took no QPU time: vetoed by a pre-evaluation, or answered by the cache."""

from __future__ import annotations

from shotclock.bench.analysis import Estimate
from shotclock.bench.numbers import NOTHING, number, percent, percent_range
from shotclock.bench.report.kit.grid import Cell, Grid, plain
from shotclock.bench.report.kit.wording import ratio
from shotclock.bench.report.run.tables import badge
from shotclock.bench.schema import ArmSummary, Summary
from shotclock.domain.plural import count


def list_savings(summary: Summary) -> Grid:
    """An arm a row, of those with a pre-evaluation or a result cache; see `rows`."""
    head = ("arm", "vetoed", "submitted", "precision", "recall", "QPU s saved", "cache hits")
    return plain("Calls that took no QPU time", head, rows(summary))


def rows(summary: Summary) -> list[tuple[str | Cell, ...]]:
    """Of each such arm: vetoed calls, submitted ones, precision, recall, QPU seconds saved, cache hits."""
    return [
        (Cell(name, badge(summary, arm)), *_count_vetoes(arm), _count_hits(arm))
        for name, arm in summary.arms.items()
        if arm.pre_evaluated is not None or arm.cache_hits is not None
    ]


def _count_vetoes(arm: ArmSummary) -> tuple[Cell, ...]:
    evaluation = arm.pre_evaluated
    if evaluation is None:
        return (Cell(NOTHING),) * 5
    return (
        Cell(f"{evaluation.vetoed:,}", f"of {count(evaluation.calls, 'call')}"),
        Cell(f"{evaluation.submitted:,}", f"and {evaluation.calibrated:,} for calibration"),
        _estimate(evaluation.precision),
        _estimate(evaluation.recall),
        Cell(number(evaluation.saved_qpu_s)),
    )


def _estimate(estimate: Estimate) -> Cell:
    low, high = estimate.lower_bound, estimate.upper_bound
    interval = "" if low is None or high is None else percent_range(low, high)
    return Cell(percent(estimate.value), ", ".join(part for part in (interval, f"n={estimate.n:,}") if part))


def _count_hits(arm: ArmSummary) -> Cell:
    if arm.cache_hits is None:
        return Cell(NOTHING)
    value, _, interval = ratio(arm.cache_hits).partition(" (")
    return Cell(value, interval.rstrip(")"))
