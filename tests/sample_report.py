"""A small made-up run and its charts, for the tests of the report."""

from __future__ import annotations

import synthetic
from shotclock.bench.judge.worth import add_worth
from shotclock.bench.record.rows import StepRow, table
from shotclock.bench.report.kit.figure import Figure
from shotclock.bench.report.run.charts import figures
from shotclock.bench.schema import Summary


def run(size: synthetic.Size = synthetic.SMALL, *names: str) -> tuple[list[StepRow], Summary]:
    """The rows and the summary, of the arms that are named or of all."""
    arms = tuple(arm for arm in synthetic.ARMS if not names or arm.name in names)
    steps = synthetic.rows(size, arms=arms)
    return steps, synthetic.summary(steps, size, arms=arms)


def draw_charts(steps: list[StepRow], summary: Summary) -> dict[str, Figure]:
    """Every chart by its name."""
    rows = table(steps)
    return {each.name: each for each in figures(add_worth(summary, rows), rows)}
