"""Gain and cost of calls are in summary.json, follow from the rows, and are in the verdict."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import synthetic
from sample_report import run
from shotclock.bench.judge.amdahl import choose_hint
from shotclock.bench.judge.summarise import judge_summary
from shotclock.bench.judge.worth import add_worth, find_worth
from shotclock.bench.judge.worth_sentences import worth_sentences
from shotclock.bench.record.rows import table
from shotclock.bench.schema import Summary
from shotclock.bench.verify.findings import check_worth

FINDINGS = {
    "break_even",
    "amdahl",
    "throughput",
    "ladder",
    "serving",
    "paired_seeds",
    "loss_against_money",
    "accelerators",
}


def test_the_findings_are_in_the_document_and_read_back() -> None:
    steps, summary = run()
    document = json.loads(summary.model_dump_json(by_alias=True))
    assert document["schema"] == 2
    assert find_worth(summary, table(steps)).keys() == FINDINGS
    assert all(document[key] for key in FINDINGS - {"accelerators", "ladder", "serving"})  # none in this run
    assert Summary.model_validate_json(json.dumps(document)) == summary


def test_a_summary_of_schema_1_is_read_and_its_findings_follow_from_its_rows() -> None:
    steps, summary = run()
    document = json.loads(summary.model_dump_json(by_alias=True)) | {"schema": 1}
    for key in FINDINGS:
        del document[key]
    old = Summary.model_validate_json(json.dumps(document))
    assert (old.break_even, old.amdahl) == (None, {})
    assert list(check_worth(steps, old)) == []
    completed = add_worth(old, table(steps))
    assert all(getattr(completed, key) == getattr(summary, key) for key in FINDINGS)
    unknown = table([replace(step, optimizer_steps=0) for step in steps])  # as older files are read
    assert add_worth(old, unknown).throughput == summary.throughput


def test_a_finding_that_the_rows_do_not_give_is_a_fault() -> None:
    steps, summary = run()
    arm = summary.arms["hybrid-colocated"]
    assert arm.samples_per_s is not None
    ceiling = summary.amdahl["hybrid-colocated"]
    changed = summary.amdahl | {"hybrid-colocated": ceiling.model_copy(update={"share": ceiling.share / 2})}
    faults = list(check_worth(steps, summary.model_copy(update={"amdahl": changed})))
    assert ["findings.amdahl.hybrid-colocated.share" in str(fault) for fault in faults] == [True]


def test_a_wait_that_is_most_of_the_time_has_a_hint() -> None:
    assert [choose_hint(share, 1.0) for share in (0.0, 0.5, 0.51, 1.0)] == ["", "", "overlap", "overlap"]
    assert [choose_hint(0.9, wait_s) for wait_s in (59.0, 60.0, 3_600.0)] == ["overlap", "yield", "yield"]
    assert choose_hint(0.1, 3_600.0) == ""


def test_the_hint_is_in_the_summary_and_in_its_sentence() -> None:
    arm = "hybrid-colocated"
    steps, summary = run()
    ceiling = summary.amdahl[arm]
    assert ceiling.hint == choose_hint(ceiling.share, ceiling.blocked_s / summary.arms[arm].calls)
    assert ceiling.hint != "yield"

    def change(hint: str | None) -> Summary:
        changed = summary.amdahl | {arm: ceiling.model_copy(update={"hint": hint})}
        return summary.model_copy(update={"amdahl": changed})

    texts = [sentence.text for sentence in worth_sentences(change("yield"))]
    assert any(
        text.startswith(f"{arm}: calls block") and "give the allocation back" in text for text in texts
    )
    (fault,) = check_worth(steps, change("yield"))
    assert f"findings.amdahl.{arm}.hint" in str(fault)
    assert list(check_worth(steps, change(None))) == []  # a summary of an earlier version


def test_throughput_counts_the_arms_own_time() -> None:
    steps, summary = run()
    own = [step for step in steps if step.arm == "classical-only"]
    seconds = sum(step.total_iteration_time_ns for step in own) / 1e9
    throughput = summary.throughput["classical-only"]
    assert throughput.iterations_per_s == pytest.approx(len(own) / seconds)
    assert throughput.samples_per_s == summary.arms["classical-only"].samples_per_s


def test_the_verdict_says_where_calls_break_even_and_what_faster_ones_could_give() -> None:
    _, summary = run()
    sentences = {sentence.text: sentence.figures for sentence in judge_summary(summary).verdict.sentences}
    ceiling = summary.amdahl["hybrid-colocated"]
    assert ceiling.at_most is not None
    (bound,) = [text for text in sentences if text.startswith("hybrid-colocated: calls block")]
    assert f"{ceiling.at_most:.3g}×" in bound
    (even,) = [text for text in sentences if text.startswith("hybrid-colocated: a call costs as much as")]
    assert sentences[even] == ("hybrid-colocated.cost", "hybrid-colocated.added_latency")


def test_a_run_without_quantum_calls_finds_no_break_even_and_no_ceiling() -> None:
    _, summary = run(synthetic.SMALL, "classical-only", "classical-control")
    assert summary.break_even is None
    assert summary.amdahl == {}
    assert {paired_seed.arm for paired_seed in summary.paired_seeds} == {"classical-control"}
