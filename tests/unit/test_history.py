"""The history of runs: kept once, in order, apart by environment, and exported whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import synthetic
from shotclock.bench.history.store import History, HistoryEntry, HistoryFigure, of_bench
from shotclock.domain.errors import MachineError

P99 = HistoryFigure("load.latency.p99_ms", "ms", "lower", 1_000, 12.5, 13.0)
FIRST = HistoryEntry("run-1", "load", "2026-11-20T10:00:00", "0.1.0", True, "wall", {"cpu": "one"}, (P99,))


def after(number: int, value: float) -> HistoryEntry:
    return replace(
        FIRST,
        run_id=f"run-{number}",
        started_at=f"2026-11-2{number}T10:00:00",
        figures=(replace(P99, value=value),),
    )


def test_a_trend_is_in_the_order_of_its_runs_whatever_they_were_added_in(tmp_path: Path) -> None:
    with History(tmp_path / "history.db") as history:
        for number in (3, 1, 2):
            assert history.add(after(number, 10.0 + number))
        assert [point.value for point in history.trend(P99.metric)] == [11.0, 12.0, 13.0]
        assert history.metrics() == [P99.metric]
        assert history.trend("nothing") == []


def test_a_run_is_kept_once_and_survives_the_process(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    with History(file) as history:
        assert history.add(FIRST)
        assert not history.add(replace(FIRST, figures=(replace(P99, value=99.0),)))
    with History(file) as again:
        (point,) = again.trend(P99.metric)
    assert (point.value, point.bound, point.emulated) == (12.5, 13.0, True)


def test_environments_are_separate_series(tmp_path: Path) -> None:
    with History(tmp_path / "history.db") as history:
        history.add(FIRST)
        history.add(replace(after(2, 1.0), environment={"cpu": "another"}))
        history.add(replace(after(3, 1.0), environment={"cpu": "one"}))
        first, another, same = (point.environment_id for point in history.trend(P99.metric))
    assert first == same != another


def test_runs_of_other_rates_or_workloads_are_separate_series() -> None:
    rows = synthetic.rows(synthetic.SMALL)
    summary = synthetic.summary(rows, synthetic.SMALL)
    entry = of_bench(summary)
    assert of_bench(summary.model_copy(update={"workload": "another"})).environment_id != entry.environment_id
    assert of_bench(summary.model_copy(update={"run_id": "later"})).environment_id == entry.environment_id
    name, arm = next(iter(summary.arms.items()))
    arms = summary.arms | {name: arm.model_copy(update={"clock": "virtual"})}
    mixed = of_bench(summary.model_copy(update={"arms": arms, "clock": "wall"}))
    assert mixed.environment["virtual_arms"] == name
    assert (
        "virtual_arms"
        not in of_bench(summary.model_copy(update={"arms": arms, "clock": "virtual"})).environment
    )
    names = {figure.metric for figure in entry.figures}
    assert "quantum-raw.quantum_share" in names
    assert "classical-control.quantum_share" not in names
    assert "quantum-raw.qpu_s" in names


def test_the_whole_history_is_exported(tmp_path: Path) -> None:
    with History(tmp_path / "history.db") as history:
        history.add(after(2, 3.0))
        history.add(FIRST)
        history.export(tmp_path / "history.parquet")
    rows = pq.read_table(tmp_path / "history.parquet").to_pylist()
    assert [(row["run_id"], row["value"]) for row in rows] == [("run-1", 12.5), ("run-2", 3.0)]
    assert rows[0]["unit"] == "ms"


def test_what_is_no_history_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    file.write_text("not a database at all, but long enough to be read as one" * 20, encoding="utf-8")
    with pytest.raises(MachineError, match=r"history\.db"):
        History(file)
    with pytest.raises(MachineError):
        History(tmp_path / "no" / "folder" / "history.db")


@pytest.mark.parametrize("fact", ["host", "qpu_calibration"])
def test_another_runner_or_night_of_one_thing_is_the_same_series(fact: str) -> None:
    monday = {"cpu": "one", fact: "monday's"}
    tuesday = {**monday, fact: "tuesday's"}
    ids = {replace(FIRST, environment=facts).environment_id for facts in (monday, tuesday, {"cpu": "one"})}
    assert len(ids) == 1
