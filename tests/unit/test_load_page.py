"""A load test's page: its verdict in one sentence, its classes apart, and nothing claimed from too few."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

import pytest

from queueing import MS, Queue, done, late, run_load
from shotclock.bench.load.arrivals import ArrivalPlan, Scenario
from shotclock.bench.load.judge import judge
from shotclock.bench.load.records import CLASSES, CallRecord
from shotclock.bench.load.schema import Knee, LoadSummary
from shotclock.bench.load.summarise import LoadFacts, summarise
from shotclock.bench.report.load.page import write_load_report
from shotclock.bench.report.load.wording import headline, sentences

SERVER = ArrivalPlan(Scenario.SERVER, 100, 20, 200 * MS, n=4)
FACTS = LoadFacts(
    "0.1", "2026-11-22T10:00:00", "load-x", False, "q", "q", True, "virtual", {"cpu": "one"}, "quantum", None
)
SECTIONS = ["verdict", "latency", "answers", "charts", "validity", "stability", "runs", "settings"]


class Page(HTMLParser):
    """Ids in their order, tables as rows of cells, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.rows: list[list[str]] = []
        self.words = ""
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
            self._in_cell = True
        if tag == "small" and self._in_cell:
            self.rows[-1][-1] += " "

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in {"td", "th"}

    def handle_data(self, data: str) -> None:
        self.words += data
        if self._in_cell:
            self.rows[-1][-1] += data

    def row(self, name: str) -> list[str]:
        """The first whose first cell begins so."""
        return next(row for row in self.rows if row and row[0].startswith(name))


def a_test(
    plans: list[ArrivalPlan], queue: Queue, facts: LoadFacts = FACTS
) -> tuple[LoadSummary, list[CallRecord]]:
    calls: list[CallRecord] = []
    runs = []
    for number, plan in enumerate(plans):
        calls_of_run = [replace(call, run=number) for call in run_load(plan, replace(queue, budgets_ns=[]))]
        runs.append(judge(calls_of_run, plan, facts.basis))
        calls += calls_of_run
    return summarise(runs, calls, plans[0], facts), calls


def page(summary: LoadSummary, calls: list[CallRecord], folder: Path) -> Page:
    return Page(write_load_report(summary, calls, folder).read_text(encoding="utf-8"))


def test_the_page_has_every_section_and_the_quoted_runs_figures(tmp_path: Path) -> None:
    summary, calls = a_test([SERVER], Queue(lambda number: 0.004))
    written = page(summary, calls, tmp_path)
    sections = [name for name in written.ids if name in SECTIONS]
    assert sections == SECTIONS
    run = summary.runs[0]
    assert written.row("any answer")[1] == f"{run.calls:,}"
    assert "too few" in written.row("any answer")[-1]  # p99.9 needs 6,636 calls
    for kind in CLASSES:
        assert written.row(kind)[1] == f"{run.by_class[kind].n:,}"
    assert "EMULATED" in written.words
    assert "VALID" in written.row("1 quoted")


def test_classes_are_apart_and_what_has_no_samples_is_counted(tmp_path: Path) -> None:
    summary, calls = a_test(
        [SERVER], Queue(lambda number: 0.004, lambda number: late if number % 3 else done)
    )
    written = page(summary, calls, tmp_path)
    run = summary.runs[0]
    assert run.by_class["unanswered"].n > run.by_class["qpu"].n > 0
    assert written.row("unanswered")[1] == f"{run.by_class['unanswered'].n:,}"
    assert written.row("with samples")[2] == f"{run.quantum_latency.missed:,}"
    assert "missed" in written.row("with samples")[-2]
    assert written.row("deadline passed")[1] == f"{run.by_class['unanswered'].n:,}"


@pytest.mark.parametrize(
    ("service_s", "deadline_ms", "words"),
    [
        (0.004, 200, "PASS: at 100 calls/s, samples of the QPU met the deadline of 200 ms at p99: "),
        (
            0.004,
            4.5,
            "FAIL: at 100 calls/s, samples of the QPU did not meet the deadline of 4.50 ms at p99",
        ),
    ],
)
def test_the_headline_says_how_the_deadline_came_out(
    service_s: float, deadline_ms: float, words: str
) -> None:
    plan = replace(SERVER, deadline_ns=round(deadline_ms * MS))
    summary, _ = a_test([plan], Queue(lambda number: service_s))
    assert headline(summary).startswith(words)


def test_a_load_that_was_late_itself_is_invalid_in_the_headline(tmp_path: Path) -> None:
    plan = replace(SERVER, duration_s=10)
    _, calls = a_test([plan], Queue(lambda number: 0.004))
    slow = [
        replace(call, issued_ns=call.issued_ns + 50 * MS, completed_ns=call.completed_ns + 50 * MS)
        for call in calls
    ]
    summary = summarise([judge(slow, plan, "quantum")], slow, plan, FACTS)
    assert headline(summary).startswith("INVALID: at 100 calls/s, the load was late itself")
    written = page(summary, slow, tmp_path)
    assert written.row("1 quoted")[1] == "INVALID"
    assert "may or may not" not in written.words


@pytest.mark.parametrize("met", [100.0, None])
def test_a_sweep_names_its_knee_or_that_there_is_none(met: float | None) -> None:
    knee = Knee(met_per_s=met, missed_per_s=140.0, why="above it the deadline was missed")
    plans = [SERVER, replace(SERVER, rate_per_s=140, seed=1)]
    summary, _ = a_test(plans, Queue(lambda number: 0.004), replace(FACTS, knee=knee))
    words = "the knee is at 100 calls/s, not met at 140" if met else "no knee"
    assert words in headline(summary)


def test_five_runs_are_official_and_fewer_say_so(tmp_path: Path) -> None:
    plans = [replace(SERVER, seed=seed) for seed in range(5)]
    summary, calls = a_test(plans, Queue(lambda number: 0.004))
    assert not any("No official figure" in sentence for sentence in sentences(summary))
    assert "95\u00a0% interval" in page(summary, calls, tmp_path).words
    summary, calls = a_test(plans[:2], Queue(lambda number: 0.004))
    assert any("2 of the five" in sentence for sentence in sentences(summary))


@pytest.mark.parametrize("scenario", [Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM, Scenario.OFFLINE])
def test_a_closed_loop_says_what_it_cannot_show(scenario: Scenario, tmp_path: Path) -> None:
    plan = replace(SERVER, scenario=scenario, duration_s=3)
    summary, calls = a_test([plan], Queue(lambda number: 0.004))
    written = page(summary, calls, tmp_path)
    assert "Closed loop" in written.words
    assert "cannot be late" in written.words
    assert all(math.isfinite(run.achieved_per_s) for run in summary.runs)


def test_a_test_interrupted_before_its_first_run_ended_has_a_page(tmp_path: Path) -> None:
    summary = summarise([], [], SERVER, replace(FACTS, interrupted=True))
    written = page(summary, [], tmp_path)
    assert "INVALID: no run ended." in written.words
    assert "INTERRUPTED: partial results" in written.words


@pytest.mark.parametrize("basis", ["quantum", "any"])
def test_the_page_fetches_nothing_and_escapes_its_input(
    basis: Literal["quantum", "any"], tmp_path: Path
) -> None:
    hostile = replace(FACTS, target="<script>alert(1)</script>{{ 7 * 7 }}", basis=basis)
    summary, calls = a_test([SERVER], Queue(lambda number: 0.004), hostile)
    text = write_load_report(summary, calls, tmp_path).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "default-src 'none'" in text
    assert "http" not in re.sub(r'xmlns(:xlink)?="http[^"]+"|http-equiv', "", text)
    assert "{{ 7 * 7 }}" in text
