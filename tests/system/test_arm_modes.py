"""How an arm's calls meet training, end to end on virtual time: what "auto" comes to, and what is named."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from shotclock.app import host
from shotclock.app.main_job import JobProgress, MainJob, run
from shotclock.bench.record.folder import RunFolder
from shotclock.bench.record.rows import CallRow, StepRow, steps
from shotclock.bench.report.run.terminal import show
from shotclock.bench.schema import Summary
from shotclock.bench.verify.bench_run import check_bench
from shotclock.domain.budget import NS_PER_MS
from shotclock.runtime.virtual_loop import VirtualLoop
from shotclock.settings import load
from shotclock.training.loops import medium

SLUGGISH, NAMED, CLOUD, MEASURING = (
    "hybrid-colocated-protected",
    "hybrid-onprem-today-protected",
    "hybrid-public-cloud-protected",
    "hybrid-colocated",
)
HURRIED = "hybrid-onprem-today"
"""Waits half a second for jobs of a QPU that takes seconds: each of its jobs is given up."""
BUDGET_MS = 200
SILENT = JobProgress(lambda text: None, lambda steps, estimate: None, lambda arm, steps: None)


@dataclass(frozen=True)
class Ran:
    """A run: its summary, its folder and its rows."""

    summary: Summary
    folder: Path
    rows: list[StepRow]

    def of(self, arm: str) -> list[StepRow]:
        return [row for row in self.rows if row.arm == arm]

    def calls(self, arm: str) -> list[CallRow]:
        return [row.call for row in self.of(arm) if row.call is not None]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("modes") / "run"
    sluggish = {"provider": "slow_provider:build"}
    settings = load(
        None,
        {
            "bench": {
                "arms": ("classical-only", SLUGGISH, NAMED, CLOUD, MEASURING, HURRIED),
                "steps": 100,
                "seeds": 2,
                "warmup_steps": 0,
            },
            "kernel": {"n": 4, "every": 2},
            # every call asks the QPU: none is vetoed, none has an equal call's samples
            "quantum": {"preview_shots": 0},
            "orchestrator": {"result_cache": 0},
            "arm": {
                SLUGGISH: sluggish,
                NAMED: {**sluggish, "mode": "inline"},
                MEASURING: sluggish,
                HURRIED: {"wait_limit_ms": 500, "every": 20},
            },
        },
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host, "VirtualLoop", lambda: VirtualLoop(base_ns=itertools.count(0, 1_000).__next__))
        for size in ("WIDTH", "BATCH"):  # no clock here times the reference iteration of 15 GFLOP
            patch.setattr(medium, size, 64)
        summary, _ = run(settings, MainJob(folder, quick=False, clock="virtual", metrics_port=None), SILENT)
    return Ran(summary, folder, steps(RunFolder(folder).read_steps()))


def test_auto_overlaps_once_the_measured_p95_is_over_the_budget(ran: Ran) -> None:
    arm = ran.summary.arms[SLUGGISH]
    assert arm.mode == "auto"
    assert arm.meeting is not None
    (change,) = arm.meeting.changes
    assert (change.seed, change.mode, change.calls) == (0, "overlap", 20)
    for row in ran.of(SLUGGISH):
        assert row.call is None or row.call.inline == (row.seed == 0 and row.step < change.step)
    assert (arm.meeting.inline, arm.meeting.overlapped) == (20, arm.calls - 20)


def test_a_later_seed_starts_from_what_the_earlier_one_has_shown(ran: Ran) -> None:
    calls = [row.call for row in ran.of(SLUGGISH) if row.call and row.seed == 1]
    assert calls
    assert not any(call.inline for call in calls)


def test_overlapped_calls_have_the_wait_limit_and_bring_samples_that_inline_ones_lack(ran: Ran) -> None:
    calls = ran.calls(SLUGGISH)
    for call in calls:
        assert call.deadline_ns == (BUDGET_MS if call.inline else 30_000) * NS_PER_MS
    assert any(not call.in_time for call in calls if call.inline)
    assert all(call.in_time for call in calls if not call.inline)


def test_a_named_mode_stays(ran: Ran) -> None:
    arm = ran.summary.arms[NAMED]
    assert arm.mode == "inline"
    assert arm.meeting is not None
    assert (arm.meeting.overlapped, arm.meeting.changes) == (0, ())
    assert {call.deadline_ns for call in ran.calls(NAMED)} == {BUDGET_MS * NS_PER_MS}


def test_an_arm_that_shows_the_qpu_as_it_is_waits_for_it(ran: Ran) -> None:
    assert ran.summary.arms[MEASURING].mode == "inline"
    assert all(call.inline and call.in_time for call in ran.calls(MEASURING))


def test_behind_a_public_cloud_auto_never_waits_seconds(ran: Ran) -> None:
    assert ran.summary.arms[CLOUD].mode == "auto"
    assert ran.calls(CLOUD)
    assert not any(call.inline for call in ran.calls(CLOUD))
    assert max(row.total_iteration_time_ns for row in ran.of(CLOUD)) < BUDGET_MS * NS_PER_MS


def test_what_given_up_jobs_took_of_the_qpu_is_in_the_arms_cost(ran: Ran) -> None:
    arm, calls = ran.summary.arms[HURRIED], ran.calls(HURRIED)
    assert calls
    assert not any(call.in_time or call.qpu_s for call in calls)
    assert arm.cost.abandoned_jobs == len(calls)
    assert arm.cost.abandoned_untold == 0
    # no more than the half second that each was waited for
    assert 0.0 < arm.cost.abandoned_qpu_s <= 0.5 * len(calls)
    assert arm.cost.qpu_s == pytest.approx(arm.cost.abandoned_qpu_s)
    assert arm.cost.money > arm.cost.abandoned_qpu_s
    assert f"{HURRIED} abandoned {len(calls)} submitted jobs" in " ".join(
        sentence.text for sentence in ran.summary.verdict.sentences
    )


def test_the_choice_is_in_verdict_terminal_and_page(ran: Ran) -> None:
    arm = ran.summary.arms[SLUGGISH]
    assert arm.meeting is not None
    first = arm.meeting.changes[0]
    assert first.p95_ms is None
    choice = (
        f"auto: inline, overlap from step {first.step} in 1 of 2 seeds "
        "(at least 2 of the last 20 calls over 200 ms)"
    )
    sentences = " ".join(sentence.text for sentence in ran.summary.verdict.sentences)
    assert f"{SLUGGISH}, {choice}; 20 of its {arm.calls} calls were waited for." in sentences
    assert f"{CLOUD}, auto: overlap throughout" in sentences
    console = Console(width=400, record=True)
    show(ran.summary, ran.folder, console, ())
    assert choice in console.export_text()
    assert choice in (ran.folder / "report.html").read_text(encoding="utf-8")


def test_the_folder_is_verified_and_a_changed_count_is_a_fault(ran: Ran) -> None:
    assert check_bench(ran.folder) == []
    arm = ran.summary.arms[SLUGGISH]
    assert arm.meeting is not None
    wrong = arm.model_copy(update={"meeting": arm.meeting.model_copy(update={"inline": 21})})
    changed = ran.summary.model_copy(update={"arms": {**ran.summary.arms, SLUGGISH: wrong}})
    text = (ran.folder / "summary.json").read_text(encoding="utf-8")
    try:
        RunFolder(ran.folder).write_summary(changed)
        faults = [str(fault) for fault in check_bench(ran.folder)]
    finally:
        (ran.folder / "summary.json").write_text(text, encoding="utf-8")
    assert f"summary.json: arms.{SLUGGISH}.meeting.inline: says 21; the rows give 20" in faults
