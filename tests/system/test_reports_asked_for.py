"""`shotclock report` as a person meets it: one run, several, a history, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from shotclock.bench.history.store import History, HistoryEntry, HistoryFigure
from shotclock.bench.load.folder import SUMMARY
from shotclock.bench.load.schema import LoadSummary
from shotclock.bench.verify.check import verify
from shotclock.cli.load import load
from shotclock.cli.report import report
from shotclock.domain.errors import ShotclockError


def ran(verb: object, *arguments: str) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(verb)  # type: ignore[type-var]
    return CliRunner().invoke(app, list(arguments))


def run_load(out: Path, *more: str) -> Result:
    arguments = ("--clock", "virtual", "--rate", "4", "--duration", "60", "--n", "6", "--out", str(out))
    return ran(load, *arguments, *more)


def strip_numbers(page: Path) -> str:
    """Vega numbers gradients through the life of a process."""
    return re.sub(r"gradient_\d+", "gradient", page.read_text(encoding="utf-8"))


def test_a_load_tests_page_is_written_named_verified_and_made_again(tmp_path: Path) -> None:
    out = tmp_path / "load"
    calls = run_load(out)
    page = out / "report.html"
    assert f"Report: {page}" in calls.stdout
    first = strip_numbers(page)
    assert not [fault for fault in verify(out) if fault.file == page.name]
    page.unlink()
    assert any(fault.file == page.name for fault in verify(out))
    again = ran(report, str(out))
    assert again.exit_code == 0
    assert "EMULATED, VIRTUAL CLOCK" in again.stdout
    assert f"Report: {page}" in again.stdout
    assert strip_numbers(page) == first
    result = ran(report, str(out), "--json", "--out", str(tmp_path / "elsewhere"))
    assert LoadSummary.model_validate_json(result.stdout).run_id
    assert strip_numbers(tmp_path / "elsewhere" / "report.html") == first


def test_several_load_tests_stand_on_a_page_beside_them(tmp_path: Path) -> None:
    for number in (1, 2):
        out = tmp_path / "runs" / f"load-{number}"
        run_load(out, "--seed", str(number))
        file = out / SUMMARY  # they may have started in one second
        file.write_text(file.read_text().replace('"run_id": "load', f'"run_id": "load-{number}'))
    folders = [str(tmp_path / "runs" / f"load-{number}") for number in (1, 2)]
    result = ran(report, *folders)
    assert result.exit_code == 0
    assert "2 runs on one host" in result.stdout
    assert (tmp_path / "runs" / "report.html").is_file()
    document = json.loads(ran(report, *folders, "--json", "--out", str(tmp_path / "page")).stdout)
    assert len(document["metrics"]["load.quantum_latency.p50_ms"]["values"]) == 2


def test_a_history_has_a_page_of_trends_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    p99 = (HistoryFigure("load.software.p99_ms", "ms", "lower", 1_000, 12.5, 13.0),)
    with History(file) as history:
        history.add(
            HistoryEntry("run-1", "load", "2026-11-20T10:00:00", "0.1.0", True, "wall", {"cpu": "one"}, p99)
        )
    result = ran(report, "--history", str(file), "--metric", "load.*")
    assert result.exit_code == 0
    assert "1 metric over 1 run" in result.stdout
    assert (tmp_path / "history-trends" / "report.html").is_file()
    assert (tmp_path / "history-trends" / "history.parquet").is_file()
    assert json.loads(ran(report, "--history", str(file), "--json").stdout)["runs"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--history FILE"),
        (["a", "--history", "b"], "--history FILE"),
        (["a", "--metric", "x"], "--metric"),
        (["a", "--despite", "cpu"], "--despite"),
        (["--history", "nothing.db"], "nothing.db: does not exist"),
        (["nothing"], "not a run folder"),
        (["nothing", "either"], "neither a run folder"),
    ],
)
def test_what_cannot_be_reported_is_one_line(arguments: list[str], words: str) -> None:
    refused = ran(report, *arguments).exception
    assert isinstance(refused, ShotclockError)
    assert words in str(refused)
    assert "\n" not in str(refused)
