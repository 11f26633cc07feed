"""Every sentence against its figures, over runs of unusual shapes: no claim that the figures contradict."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from sample_summary import Call, make_cost, summary
from shotclock.bench.judge.summarise import judge_summary
from shotclock.bench.numbers import percent
from shotclock.bench.report.kit.latency_samples import LatencySample as Drawn
from shotclock.bench.report.kit.tails import tail_curve
from shotclock.bench.report.kit.wording import gate_value, took
from shotclock.bench.report.run.page import page
from shotclock.bench.report.run.terminal import show
from shotclock.bench.schema import Result, Summary
from shotclock.bench.stats.statistics import Sample, fewest, gate_quantile, percentile
from shotclock.domain.plural import count, plural, with_article

COLOCATED, CLOUD, PROTECTED = "hybrid-colocated", "hybrid-public-cloud", "hybrid-colocated-protected"
ONE_OF_MANY = re.compile(
    r"(?<![\d.,/])1 (?:calls|seeds|steps|pairs|runs|jobs|sessions|thresholds|numbers|shots|fabrics)\b"
)
P95_CLAIM = re.compile(r"its p95 is|p95 of the last|added latency p95|a p95 of")


def call(n: int, result: Result, *, late: int = 0, below: float = 0.0, wins: int = 0) -> Call:
    """n calls, so many of them without samples; a p95 only where it may be printed."""
    p95 = 140.0 if n >= fewest(0.95) else None
    return Call(120.0, p95_ms=p95, gate=result, n=n, fell_back=late, wins=wins, below=(below,) * 3)


MATRIX: dict[str, Summary] = {
    "no arm": summary({}),
    "classical-only": summary({}, control=False),
    **{
        f"{n} calls, {late} late": summary(
            {COLOCATED: call(n, result, late=late), CLOUD: call(n, result, late=late)}
        )
        for n in (1, 2, 90, 129, 130, 700)
        for late, result in ((0, Result.PASS), (1, Result.INCONCLUSIVE), (n, Result.FAIL))
    },
    "protected": summary({PROTECTED: call(1, Result.PASS), COLOCATED: call(1, Result.PASS)}),
    "tiny gain": summary({COLOCATED: call(200, Result.PASS, below=1e-6, wins=1)}),
    "huge gain": summary({COLOCATED: call(200, Result.PASS, below=1e9, wins=200)}),
    "tiny bill": summary({COLOCATED: replace(call(5, Result.FAIL), cost=make_cost(0.004, 0.003))}),
    "one threshold": summary(
        {COLOCATED: call(90, Result.PASS)}, thresholds=(f"{COLOCATED}.quantum_latency.p95_ms",)
    ),
}


def raw(calls: int, hits: int) -> Summary:
    """quantum-raw alone asked a QPU."""
    base = summary({"quantum-raw": call(calls, Result.FAIL, late=calls - hits)})
    return base.model_copy(update={"mission_gates": ()})


MATRIX |= {"raw, all late": raw(4, 0), "raw, one of one": raw(1, 1)}


def texts(run: Summary) -> list[str]:
    """Headline, sentences, sanity and checklist, and all that the terminal prints."""
    out = io.StringIO()
    show(run, Path("run"), Console(file=out, width=200), [])
    sentences = [sentence.text for sentence in run.verdict.sentences]
    sentences += [row.said for row in run.sanity] + [row.said for row in run.checklist]
    return [run.verdict.headline, *sentences, *out.getvalue().splitlines()]


@pytest.mark.parametrize("name", MATRIX)
@pytest.mark.parametrize("status", ["complete", "interrupted"])
def test_no_sentence_contradicts_its_figures(name: str, status: str) -> None:
    run = judge_summary(MATRIX[name].model_copy(update={"status": status}))
    most = max((arm.calls for arm in run.arms.values() if arm.calls_quantum), default=0)
    for text in texts(run):
        assert not ONE_OF_MANY.search(text), text
        if most < fewest(0.95):
            assert not P95_CLAIM.search(text), text
        assert not re.search(r"\b0\.000\b|\bnan\b|0 of 0 QPU", text), text
    page(run, [], [])


def test_a_gate_that_passes_with_few_calls_speaks_of_its_calls() -> None:
    run = judge_summary(MATRIX["90 calls, 0 late"])
    (text,) = [
        sentence.text
        for sentence in run.verdict.sentences
        if sentence.text.startswith(f"{COLOCATED}, inline")
    ]
    assert "every call was within 200 ms" in text
    gate = run.mission_gates[0]
    assert gate_value(run, gate) == "no p95 is printed below 130 calls"
    enough = judge_summary(MATRIX["130 calls, 0 late"])
    assert any("its p95 is within 200 ms" in sentence.text for sentence in enough.verdict.sentences)


@pytest.mark.parametrize("n", [89, 90, 129, 130])
def test_what_a_gate_says_of_few_calls_is_true(n: int) -> None:
    result, _ = gate_quantile(Sample.of([1] * n), 0.95, 200.0)
    assert (result is Result.PASS) == (n >= 90)
    assert (percentile(Sample.of([1] * n), 0.95) is not None) == (n >= 130)


def test_raw_calls_are_named_where_no_hybrid_arm_ran() -> None:
    assert "0 of 4 calls of quantum-raw brought samples in time" in judge_summary(raw(4, 0)).verdict.headline
    assert "1 of 1 call of quantum-raw brought samples in time" in judge_summary(raw(1, 1)).verdict.headline


def test_a_loss_that_is_equal_is_not_above() -> None:
    run = judge_summary(summary({COLOCATED: call(200, Result.PASS)}))
    assert any(
        "a held-out loss equal to classical-only's" in sentence.text for sentence in run.verdict.sentences
    )


def test_the_time_a_run_took_is_the_walls_and_emulated_time_says_so() -> None:
    run = summary({}).model_copy(update={"duration_s": 1_020.0, "wall_s": 23.0})
    assert took(run) == "23 s, 17 min of emulated time"
    assert took(run.model_copy(update={"clock": "wall"})) == "17 min"
    assert took(run.model_copy(update={"wall_s": None})) == "17 min of emulated time"


def test_the_causes_of_failed_calls_are_in_the_terminal_and_on_the_page() -> None:
    run = judge_summary(summary({COLOCATED: call(3, Result.FAIL, late=3)}))
    arm = run.arms[COLOCATED].model_copy(update={"causes": {"Key was refused": 2, "deadline passed": 1}})
    run = run.model_copy(update={"arms": {**run.arms, COLOCATED: arm}})
    (line,) = [text for text in texts(run) if "Key was refused" in text]
    assert line.strip() == f"{COLOCATED}: 3 of 3 calls: Key was refused (2 calls); deadline passed (1 call)"
    assert "Key was refused" in page(run, [], [])


def test_a_chart_marks_only_percentiles_that_may_be_printed() -> None:
    for n, marks in ((9, 0), (90, 1), (130, 2), (662, 3)):
        drawn = Drawn("x", tuple(float(value) for value in range(1, n + 1)), 0, None)
        curve = tail_curve(drawn, 5.0)
        printed = [p for p in (0.5, 0.95, 0.99) if n >= fewest(p)]
        assert len(printed) == marks
        xs = {round(x, 6) for x, _ in curve.marks}
        assert (round(1.30103, 6) in xs) == (n >= 130)


def test_shares_read_none_or_all_only_where_they_are() -> None:
    assert [percent(value) for value in (0.0, 1e-6, 0.5, 0.99996, 1.0)] == [
        "0.0 %",
        "< 0.1 %",
        "50.0 %",
        "> 99.9 %",
        "100.0 %",
    ]


def test_plurals_and_articles() -> None:
    assert [count(n, "call") for n in (0, 1, 2, 1234)] == ["0 calls", "1 call", "2 calls", "1,234 calls"]
    assert [plural(noun) for noun in ("query", "pass", "training step")] == [
        "queries",
        "passes",
        "training steps",
    ]
    assert [with_article(noun) for noun in ("object", "int", "call")] == ["an object", "an int", "a call"]
