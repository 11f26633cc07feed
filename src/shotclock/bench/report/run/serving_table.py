"""The page's table of an inference workload: how each arm serves requests, with and without the QPU."""

from __future__ import annotations

from shotclock.bench.judge.pre_evaluation import word_estimate
from shotclock.bench.judge.serving import word_p99
from shotclock.bench.numbers import limit_ms, number
from shotclock.bench.report.kit.grid import Cell, Grid, plain
from shotclock.bench.report.run.tables import badge
from shotclock.bench.schema import Summary


def list_serving(summary: Summary) -> Grid:
    """An arm a row; no rows for a workload that trains."""
    budget = limit_ms(summary.request_budget_ms or 0.0)
    rows = []
    for name, served in summary.serving.items():
        arm = summary.arms[name]
        value, _, interval = word_estimate(served.in_time).partition(" (")
        quantity, _, bound = word_p99(served).partition(" (")
        rows.append(
            (
                Cell(name, badge(summary, arm)),
                f"{served.requests:,}",
                number(served.requests_per_s),
                Cell(quantity, bound.rstrip(")")),
                Cell(value, interval.rstrip(")")),
                number(arm.loss.mean),
            )
        )
    head = ("arm", "requests", "requests/s", "p99", f"within {budget}", "mean loss")
    return plain("Requests served, one at a time", head, rows)
