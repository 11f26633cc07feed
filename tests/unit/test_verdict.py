"""The verdict by the specification's framework: each way, each mode, and "worth it" only when significant."""

from __future__ import annotations

import re

import pytest

from sample_summary import Call, make_cost, summary
from shotclock.bench.judge.gates import calls_needed
from shotclock.bench.judge.summarise import judge_summary
from shotclock.bench.numbers import ms
from shotclock.bench.schema import Result, Summary
from shotclock.bench.stats.statistics import Sample, gate_quantile

COLOCATED, ONPREM, CLOUD = "hybrid-colocated", "hybrid-onprem-today", "hybrid-public-cloud"
NEAR = Call(waits_ms=120.0, p95_ms=140.0)
FAR = Call(waits_ms=2_300.0, p95_ms=2_400.0, gate=Result.FAIL)
GAINS = (0.2, 0.21, 0.19)


def join_verdict(run: Summary, start: str) -> str:
    (text,) = [sentence.text for sentence in run.verdict.sentences if sentence.text.startswith(start)]
    return text


def test_no_hybrid_arm_says_nothing_of_quantum() -> None:
    verdict = judge_summary(summary({})).verdict
    assert "No hybrid arm" in verdict.headline
    assert (verdict.worth, verdict.way, verdict.modes) == ("", "", {})


def test_a_fabric_without_proven_samples_is_staged() -> None:
    run = judge_summary(summary({COLOCATED: NEAR, CLOUD: FAR}))
    assert (run.verdict.worth, run.verdict.way) == ("not worth it", "staged")
    assert run.verdict.modes == {COLOCATED: "inline", CLOUD: "offline"}
    assert run.verdict.headline.startswith(
        "Not worth it: the QPU never beat the classical answer in 400 calls."
    )
    assert join_verdict(run, "Staged: ")


def test_a_sure_gain_on_the_control_pays_for_the_private_fabric() -> None:
    gaining = Call(waits_ms=120.0, p95_ms=140.0, wins=50, below=GAINS, tag="assumed")
    run = judge_summary(summary({COLOCATED: gaining, CLOUD: FAR}))
    assert (run.verdict.worth, run.verdict.way) == ("worth it", "private")
    assert "3 of the 3 numbers behind hybrid-colocated's latency are assumed" in join_verdict(
        run, "Private: "
    )


@pytest.mark.parametrize("below", [(0.2, -0.2, 0.1), (0.2, 0.21, -0.6)])
def test_a_gain_that_may_be_chance_is_undecided(below: tuple[float, ...]) -> None:
    run = judge_summary(
        summary({COLOCATED: Call(waits_ms=120.0, p95_ms=140.0, wins=50, below=below), CLOUD: FAR})
    )
    assert run.verdict.worth == "undecided"


def test_winning_calls_and_losing_the_model_is_not_worth_it() -> None:
    worse = Call(waits_ms=120.0, p95_ms=140.0, wins=50, below=(-0.2, -0.21, -0.19))
    assert judge_summary(summary({COLOCATED: worse, CLOUD: FAR})).verdict.worth == "not worth it"
    # without the control nothing says whether the samples or the kernel gained
    lone = Call(waits_ms=120.0, p95_ms=140.0, wins=50, below=GAINS)
    assert judge_summary(summary({COLOCATED: lone}, control=False)).verdict.worth == "undecided"


def test_remote_is_enough_where_it_does_as_well() -> None:
    assert judge_summary(summary({COLOCATED: NEAR, CLOUD: NEAR})).verdict.way == "remote"
    assert judge_summary(summary({ONPREM: FAR, CLOUD: FAR})).verdict.way == "remote"


@pytest.mark.parametrize(
    "calls",
    [
        {COLOCATED: NEAR},
        {CLOUD: FAR},
        {COLOCATED: NEAR, CLOUD: Call(waits_ms=190.0, gate=Result.INCONCLUSIVE, n=5)},
        {COLOCATED: Call(waits_ms=190.0, gate=Result.INCONCLUSIVE, n=5), CLOUD: FAR},
    ],
)
def test_a_way_that_was_not_compared_is_not_settled(calls: dict[str, Call]) -> None:
    run = judge_summary(summary(calls))
    assert run.verdict.way == "not settled"
    assert " Placement inconclusive: " in run.verdict.headline
    assert join_verdict(run, "Placement (remote, private or staged) is inconclusive: ")
    assert "settled" not in " ".join(sentence.text for sentence in run.verdict.sentences)


@pytest.mark.parametrize(
    ("every", "p95_ms", "mode"),
    [(250, 2_400.0, "overlap"), (240, 2_400.0, "overlap"), (239, 2_400.0, "offline"), (5, None, "offline")],
)
def test_a_call_overlaps_only_if_it_fits_behind_the_steps_between(
    every: int, p95_ms: float | None, mode: str
) -> None:
    call = Call(waits_ms=2_300.0, p95_ms=p95_ms, gate=Result.FAIL, every=every)
    run = judge_summary(summary({CLOUD: call}))
    assert run.verdict.modes == {CLOUD: mode}
    text = join_verdict(run, f"{CLOUD}, {mode}: ")
    assert f"the {every} training steps between calls take {ms(every * 10.0)} ms" in text


def test_too_few_calls_to_overlap_or_no_baseline_settle_nothing() -> None:
    few = Call(waits_ms=300.0, gate=Result.FAIL, n=6, every=100)
    assert judge_summary(summary({CLOUD: few})).verdict.modes == {CLOUD: "not settled"}
    assert judge_summary(summary({CLOUD: FAR}, iteration_ms=None)).verdict.modes == {CLOUD: "not settled"}


def test_an_open_gate_says_how_many_calls_would_settle_it() -> None:
    # none over: a p95 passes at 90 calls; at 3 % over it takes hundreds, at 5 % no number of them
    assert calls_needed(80, 80, 0.95, 200.0) == 90
    assert gate_quantile(Sample.of([1], 0), 0.95, 200.0)[0] is Result.INCONCLUSIVE
    calls = calls_needed(97, 100, 0.95, 200.0)
    assert 300 < calls < 1_500
    settled = Sample.of([0] * round(0.97 * calls), calls - round(0.97 * calls))
    assert gate_quantile(settled, 0.95, 200.0)[0] is Result.PASS
    assert calls_needed(95, 100, 0.95, 200.0) == 0
    assert calls_needed(0, 0, 0.95, 200.0) == 90
    assert 0 < calls_needed(9, 9, None, 0.9) <= 50


def test_a_sites_own_profile_is_placed_by_its_round_trip() -> None:
    here, far = (Call(waits_ms=120.0, p95_ms=140.0, rtt_ms=rtt) for rtt in (1.0, 25.0))
    ways = [judge_summary(summary({"hybrid-site": call, CLOUD: FAR})).verdict.way for call in (here, far)]
    assert ways == ["staged", "not settled"]


def test_idle_sessions_are_judged_against_their_jobs() -> None:
    def idle(idle_s: float | None) -> str:
        call = Call(waits_ms=2_300.0, p95_ms=2_400.0, gate=Result.FAIL, cost=make_cost(100.0, idle_s))
        return " ".join(sentence.text for sentence in judge_summary(summary({CLOUD: call})).verdict.sentences)

    assert "75.0 of 100 QPU s were idle (75.0 %, 120 USD); more was paid for waiting than for jobs" in idle(
        75.0
    )
    assert "10.0 of 100 QPU s were idle (10.0 %, 16.0 USD); its jobs fill most of it" in idle(10.0)
    assert "session" not in idle(None)


def test_arms_that_trained_alike_are_reported_once_and_every_sentence_has_its_figure() -> None:
    run = judge_summary(summary({COLOCATED: NEAR, ONPREM: FAR, CLOUD: FAR}))
    assert join_verdict(run, f"{COLOCATED}, {ONPREM}, {CLOUD} end with a held-out loss")
    for sentence in run.verdict.sentences:
        assert sentence.figures
        assert re.search(r"\d", sentence.text) or sentence.text.startswith("Staged: ")


def test_due_calls_that_were_skipped_are_counted_with_their_reasons() -> None:
    run = summary({COLOCATED: NEAR})
    arm = run.arms[COLOCATED].model_copy(update={"skipped_calls": {"in_flight": 9, "retry_after": 3}})
    run = judge_summary(run.model_copy(update={"arms": run.arms | {COLOCATED: arm}}))
    (text,) = [sentence.text for sentence in run.verdict.sentences if "skipped" in sentence.text]
    assert f"of {arm.calls + 12} due calls 12 were skipped" in text
    assert "9 because an earlier call was in flight, 3 because" in text
