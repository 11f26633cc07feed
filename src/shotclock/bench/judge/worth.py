"""What a run's calls gave and cost: the findings of a summary that need the rows too."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shotclock.bench.analysis import Throughput
from shotclock.bench.judge.accelerators import add_arms
from shotclock.bench.judge.amdahl import find_ceilings
from shotclock.bench.judge.break_even import find_break_even
from shotclock.bench.judge.ladder import find_shares
from shotclock.bench.judge.money import curve_against_money, find_prices
from shotclock.bench.judge.paired_seeds import pair_seeds
from shotclock.bench.judge.serving import find_serving
from shotclock.bench.schema import Summary


def add_worth(summary: Summary, table: pa.Table) -> Summary:
    """The summary with its findings about time, loss and money; table: the rows of steps.parquet.

    A summary of schema 1 holds none of them, so whoever shows one adds them first.
    """
    return summary.model_copy(update=find_worth(summary, table))


def find_worth(summary: Summary, table: pa.Table) -> dict[str, Any]:
    """The findings by their keys in summary.json."""
    prices = find_prices(summary)
    return {
        "break_even": None if prices is None else find_break_even(summary, table, prices),
        "amdahl": find_ceilings(summary, table),
        "serving": find_serving(summary, table),
        "throughput": {
            name: _measure_throughput(table, name, arm.samples_per_s) for name, arm in summary.arms.items()
        },
        "ladder": {
            name: find_shares(arm.ladder) for name, arm in summary.arms.items() if arm.ladder is not None
        },
        "paired_seeds": pair_seeds(summary),
        "accelerators": add_arms(summary, table),
        "loss_against_money": () if prices is None else curve_against_money(summary, table, prices),
    }


def _measure_throughput(table: pa.Table, arm: str, samples_per_s: float | None) -> Throughput:
    rows = table.filter(pc.equal(table["arm"], arm))
    seconds = (pc.sum(rows["total_iteration_time_ns"]).as_py() or 0) / 1e9
    # Older files do not have the column, or 0 once they are read as rows.
    has_steps = len(rows) and "optimizer_steps" in table.column_names
    steps = pc.sum(pc.max_element_wise(rows["optimizer_steps"], 1)).as_py() if has_steps else len(rows)
    return Throughput(samples_per_s=samples_per_s, iterations_per_s=steps / seconds if seconds else None)
