"""An inference workload's serving row: by hand, too few for a p99, and in the summary, verdict and page."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import synthetic
from shotclock.app.arms import match_kernel
from shotclock.bench.judge.serving import describe_serving, find_serving
from shotclock.bench.judge.worth import add_worth
from shotclock.bench.record.rows import table
from shotclock.bench.report.run.page import write_report
from shotclock.bench.report.run.serving_table import list_serving
from shotclock.bench.schema import Summary
from shotclock.settings import load

ROWS = synthetic.rows(synthetic.SMALL)
MS = 1_000_000


def serving_summary(budget_ms: float | None) -> Summary:
    return synthetic.summary(ROWS, synthetic.SMALL).model_copy(update={"request_budget_ms": budget_ms})


def requests(times_ms: list[float]) -> pa.Table:
    names = ["classical-only"] * len(times_ms)
    return pa.table({"arm": names, "total_iteration_time_ns": [round(ms * MS) for ms in times_ms]})


def test_requests_a_second_p99_and_share_in_time_by_hand() -> None:
    times = [10.0] * 990 + [60.0] * 10
    (served,) = find_serving(serving_summary(50.0), requests(times)).values()
    assert served.requests == 1000
    assert served.requests_per_s == pytest.approx(1000 / (9.9 + 0.6))
    assert served.p99_ms == 10.0
    assert served.p99_upper_bound_ms == 60.0
    assert served.in_time.value == 0.99
    assert served.in_time.lower_bound is not None
    assert 0.97 < served.in_time.lower_bound < 0.99


def test_a_p99_of_few_requests_is_not_printed_and_training_serves_nothing() -> None:
    summary = serving_summary(50.0)
    served = find_serving(summary, requests([10.0] * 661))
    assert served["classical-only"].p99_ms is None
    sentences = describe_serving(summary.model_copy(update={"serving": served}))
    assert "p99 too few requests (662 needed), 100.0 % (" in sentences[0].text
    assert find_serving(serving_summary(None), requests([10.0])) == {}
    several = requests([10.0, 10.0]).append_column("optimizer_steps", pa.array([1, 3]))
    assert find_serving(summary, several) == {}


def test_the_serving_row_is_in_summary_verdict_and_page(tmp_path: Path) -> None:
    summary = add_worth(serving_summary(50.0), table(ROWS))
    assert set(summary.serving) == {row.arm for row in ROWS}
    assert len(list_serving(summary).groups[0].rows) == len(summary.serving)
    page = write_report(summary, table(ROWS), tmp_path).read_text("utf-8")
    assert "Requests served, one at a time" in page


def test_the_workload_sets_every_request_and_its_budget() -> None:
    settings = match_kernel(load(None, {"bench": {"workload": "digits-rerank"}}))
    assert (settings.kernel.name, settings.kernel.every) == ("diverse_rerank", 1)
    assert (settings.quantum.budget_ms, settings.quantum.mode) == (50.0, "inline")
    own = {"bench": {"workload": "digits-rerank"}, "quantum": {"budget_ms": 80.0}, "kernel": {"every": 3}}
    settings = match_kernel(load(None, own))
    assert (settings.kernel.every, settings.quantum.budget_ms) == (3, 80.0)
