"""Trends: a series an environment, changes with the run they came with, and the words of the page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from shotclock.bench.history.store import History, HistoryEntry, HistoryFigure
from shotclock.bench.history.trends import as_json, read_trends
from shotclock.bench.report.trends.page import headline, write_trends
from shotclock.domain.errors import SettingsError

P99, GOODPUT = "load.software.p99_ms", "load.goodput_per_s"


def add(history: History, count: int, moved_at: int, cpu: str = "one") -> None:
    for number in range(count):
        wave = 1 + 0.01 * ((7 * number) % 5 - 2)
        level = 10.0 if number < moved_at else 13.0
        history.add(
            HistoryEntry(
                f"{cpu}-{number}",
                "load",
                f"2026-10-{number + 1:02d}T03:00:00",
                "0.1",
                True,
                "wall",
                {"cpu": cpu},
                (
                    HistoryFigure(P99, "ms", "lower", 1_000, level * wave, None),
                    HistoryFigure(GOODPUT, "1/s", "higher", 1_000, 20 * level * wave, None),
                    HistoryFigure("load.issue_lag.p99_ms", "ms", "lower", 1_000, 0.1, None),
                ),
            )
        )


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path / "history.db") as history:
        yield history


def test_a_change_is_reported_with_its_run_and_whether_it_is_worse(history: History, tmp_path: Path) -> None:
    add(history, 24, 12)
    trends = read_trends(history)
    assert [trend.metric for trend in trends.trends] == [GOODPUT, P99]
    assert {(t.metric, series.points[change.index].run_id) for t, series, change in trends.changes} == {
        (P99, "one-12"),
        (GOODPUT, "one-12"),
    }
    assert f"1 of 2 changes is to the worse, the last in {P99} from 10.0 ms to 13.0 ms" in headline(trends)
    page = write_trends(trends, history, tmp_path / "page")
    text = page.read_text(encoding="utf-8")
    assert "EMULATED" in text
    assert "<script" not in text
    chart = (tmp_path / "page" / "charts" / "trend-load-software-p99-ms.svg").read_text(encoding="utf-8")
    assert "+30.0 %, worse" in chart
    assert "EMULATED" in chart
    assert pq.read_table(tmp_path / "page" / "history.parquet").num_rows == 72
    # what moved to the worse is drawn first
    assert text.index('<figure id="trend-load-software') < text.index('<figure id="trend-load-goodput')
    document = json.loads(json.dumps(as_json(trends)))
    (change,) = document["metrics"][P99]["changes"]
    assert (change["run_id"], change["worse"]) == ("one-12", True)


def test_labels_of_neighbouring_changes_are_on_separate_lines(history: History, tmp_path: Path) -> None:
    for number in range(30):
        level = 10.0 if number < 18 else 14.0 if number < 24 else 12.0
        figure = HistoryFigure(P99, "ms", "lower", 1_000, level * (1 + 0.002 * (number % 3)), None)
        started = f"2026-10-{number + 1:02d}T03:00:00"
        history.add(HistoryEntry(f"r-{number}", "load", started, "0.1", True, "wall", {}, (figure,)))
    trends = read_trends(history)
    assert len(trends.changes) == 2
    write_trends(trends, history, tmp_path)
    chart = (tmp_path / "charts" / "trend-load-software-p99-ms.svg").read_text(encoding="utf-8")
    heights = re.findall(r'<text[^>]*translate\([^,]*,([^)]*)\)"[^>]*>[^<]*, (?:worse|better)<', chart)
    assert len(set(heights)) == 2


def test_another_environment_is_a_series_not_a_change(history: History) -> None:
    add(history, 10, 99)
    add(history, 10, 0, cpu="another")
    trends = read_trends(history, ["load.software.*"])
    (trend,) = trends.trends
    assert [series.name for series in trend.series] == ["A", "B"]
    assert trends.changes == []
    assert trends.environments == {"A": {"cpu": "another"}, "B": {"cpu": "one"}}
    assert "no level has moved" in headline(trends)


def test_an_arm_on_the_virtual_clock_is_a_series_of_its_own(history: History, tmp_path: Path) -> None:
    quantum, plain = "hybrid-public-cloud.quantum_latency.p95_ms", "classical-only.samples_per_s"
    for number, arms in enumerate(("", "hybrid-public-cloud,quantum-raw", "")):
        environment = {"cpu": "one"} | ({"virtual_arms": arms} if arms else {})
        figures = tuple(HistoryFigure(name, "ms", "lower", 9, 1.0, None) for name in (quantum, plain))
        started = f"2026-10-0{number + 1}T03:00:00"
        history.add(
            HistoryEntry(f"run-{number}", "bench", started, "0.1", True, "wall", environment, figures)
        )
    trends = {trend.metric: trend for trend in read_trends(history).trends}
    assert {series.name: len(series.points) for series in trends[quantum].series} == {"A": 2, "A virtual": 1}
    assert {series.name: len(series.points) for series in trends[plain].series} == {"A": 3}
    assert (trends[quantum].clock, trends[plain].clock) == ("virtual", "wall")
    history.export(tmp_path / "history.parquet")
    rows = pq.read_table(tmp_path / "history.parquet", columns=["run_id", "metric", "clock"]).to_pylist()
    assert [row for row in rows if row["clock"] == "virtual"] == [
        {"run_id": "run-1", "metric": quantum, "clock": "virtual"}
    ]


def test_too_few_runs_say_how_many_it_takes(history: History, tmp_path: Path) -> None:
    add(history, 3, 1)
    trends = read_trends(history)
    assert "that takes 8 runs in one environment, the longest series has 3" in headline(trends)
    assert write_trends(trends, history, tmp_path / "page").is_file()


def test_a_pattern_that_fits_nothing_and_an_empty_history_are_refused(history: History) -> None:
    with pytest.raises(SettingsError, match="no run yet"):
        read_trends(history)
    add(history, 1, 1)
    with pytest.raises(SettingsError, match=r"--metric load\.p98.*load\.software\.p99_ms"):
        read_trends(history, ["load.p98"])
