"""What a run concludes, on the page, in a terminal, and held by `verify` against the run's own figures."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import synthetic
from sample_summary import Call, make_cost, summary
from shotclock.app.integration import of_run, of_settings
from shotclock.bench.judge.metrics import ArmRows, Prices, cost
from shotclock.bench.judge.summarise import judge_summary
from shotclock.bench.record.arm_runs import Arm
from shotclock.bench.record.folder import RunFolder
from shotclock.bench.record.rows import table
from shotclock.bench.report.kit.wording import figure
from shotclock.bench.report.run.page import write_report
from shotclock.bench.report.run.terminal import show
from shotclock.bench.schema import Result, State, Summary
from shotclock.bench.verify.findings import check_cited, check_conclusions
from shotclock.domain.errors import SettingsError
from shotclock.settings import ThresholdSettings, load

COLOCATED, CLOUD = "hybrid-colocated", "hybrid-public-cloud"


@pytest.fixture(scope="module")
def run() -> Summary:
    """A call near and one far, judged."""
    far = Call(
        waits_ms=2_300.0,
        p95_ms=2_400.0,
        gate=Result.FAIL,
        cost=make_cost(100.0, 75.0),
        tag="assumed",
        rtt_ms=25.0,
    )
    return judge_summary(summary({COLOCATED: Call(waits_ms=120.0, p95_ms=140.0), CLOUD: far}))


def change_run(run: Summary, change: Callable[[dict[str, Any]], None]) -> Summary:
    document = json.loads(run.model_dump_json(by_alias=True))
    change(document)
    return Summary.model_validate(document)


def faults(run: Summary) -> list[str]:
    return [str(fault) for fault in (*check_cited(run), *check_conclusions(run))]


def test_what_follows_from_its_figures_has_no_fault_and_survives_the_file(run: Summary) -> None:
    assert faults(run) == []
    assert Summary.model_validate_json(run.model_dump_json(by_alias=True)) == run


def test_a_summary_from_before_the_findings_has_no_fault(run: Summary) -> None:
    def older(document: dict[str, Any]) -> None:
        for key in ("sanity", "checklist"):
            del document[key]
        for key in ("worth", "way", "modes"):
            del document["verdict"][key]
        for arm in document["arms"].values():
            del arm["cost"]["qpu_idle_s"], arm["cost"]["idle_money"]

    assert faults(change_run(run, older)) == []


def test_conclusions_that_the_figures_do_not_give_are_found(run: Summary) -> None:
    def better(document: dict[str, Any]) -> None:
        document["verdict"]["worth"] = "worth it"
        document["checklist"][1]["state"] = "met"
        document["sanity"][1]["figures"][0]["result"] = "met"
        document["sanity"][1]["tags"]["assumed"] = 99

    text = "\n".join(faults(change_run(run, better)))
    assert "verdict.worth: says worth it; the rows give not worth it" in text
    assert "checklist.workload_candidate.state: says met" in text
    assert f"sanity.{COLOCATED}.figures[0].result: says met" in text
    assert f"sanity.{COLOCATED}.tags.assumed: says 99" in text


def test_a_missing_point_and_a_figure_that_is_not_there_are_found(run: Summary) -> None:
    def lose(document: dict[str, Any]) -> None:
        del document["checklist"][4]
        document["checklist"][0]["figures"] = ["hybrid-nowhere.added_latency"]
        document["verdict"]["sentences"][0]["figures"] = [f"{COLOCATED}.luck"]

    text = "\n".join(faults(change_run(run, lose)))
    assert "its points are slos, workload_candidate, fabric" in text
    assert "cites hybrid-nowhere.added_latency, which does not exist" in text
    assert f"cites {COLOCATED}.luck, which does not exist" in text


def test_the_page_shows_both_tables_and_the_figures_of_an_arms_own_table(
    run: Summary, tmp_path: Path
) -> None:
    steps = synthetic.rows(synthetic.SMALL, arms=())
    page = write_report(run, table(steps), tmp_path).read_text(encoding="utf-8")
    for words in ('id="checklist"', 'id="sanity"', "20–50", "0 published, 0 measured, 3 assumed"):
        assert words in page, words
    for point in run.checklist:
        assert point.title in page
        assert str(point.state) in page
    assert "75.0 s of it idle" in page
    assert figure(run, f"{CLOUD}.winners") == "classical 200, quantum 0"


def test_a_page_of_an_older_summary_leaves_the_sections_out(run: Summary, tmp_path: Path) -> None:
    older = run.model_copy(update={"sanity": (), "checklist": ()})
    page = write_report(older, table([]), tmp_path).read_text(encoding="utf-8")
    assert 'id="checklist"' not in page
    assert 'id="sanity"' not in page


@pytest.mark.parametrize("width", [80, 100])
def test_the_terminal_shows_them_within_its_width(run: Summary, width: int, tmp_path: Path) -> None:
    console = Console(width=width, file=io.StringIO(), record=True)
    show(run, tmp_path, console, [])
    text = console.export_text()
    lines = [line.rstrip() for line in text.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= width
    for words in (
        "Integration checklist  EMULATED",
        "0/0/3",
        "20–50",
        "✗ Workload candidate validated: not met",
    ):
        assert words in text, words


def test_a_session_is_billed_while_it_idles() -> None:
    rows = synthetic.rows(synthetic.SMALL)
    arm = Arm(CLOUD, calls=True, quantum=True, race=True, protected=False, profile="public-cloud")
    mine = ArmRows(arm, [row for row in rows if row.arm == CLOUD])
    session, jobs = (
        cost(mine, None, 60, Prices("USD", 2.0, 0.0, session=has_session)) for has_session in (True, False)
    )
    held_s = sum(call.qpu_s for call in mine.calls)
    assert jobs.qpu_s == pytest.approx(held_s)
    assert jobs.qpu_idle_s is None
    assert jobs.idle_money is None
    assert session.qpu_s == pytest.approx(sum(step.total_iteration_time_ns for step in mine.steps) / 1e9)
    assert session.qpu_idle_s == pytest.approx(session.qpu_s - held_s)
    quick = [replace(step, total_iteration_time_ns=1) for step in mine.steps]
    overlapped = cost(ArmRows(arm, quick), None, 60, Prices("USD", 2.0, 0.0, session=True))
    assert (overlapped.qpu_s, overlapped.qpu_idle_s) == (jobs.qpu_s, 0.0)
    assert session.idle_money == pytest.approx(2.0 * (session.qpu_s - held_s))


def test_doctor_tells_a_runs_points_or_what_settings_decide(run: Summary, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    folder.write_summary(run)
    checklist = of_run(folder.path)
    assert (checklist.points, checklist.mark) == (run.checklist, "EMULATED, VIRTUAL CLOCK")
    folder.write_summary(run.model_copy(update={"checklist": ()}))
    with pytest.raises(SettingsError, match="run the benchmark again"):
        of_run(folder.path)
    limits = [
        ThresholdSettings(metric=f"{COLOCATED}.added_latency.{q}_ms", max=300.0) for q in ("p50", "p99")
    ]
    settings = load(None, {"threshold": [limit.model_dump() for limit in limits]})
    points = of_settings(settings)
    assert points.mark == ""
    assert points.points[0].state is State.MET
    assert of_settings(load(None, {})).points[0].state is State.NOT_MET
