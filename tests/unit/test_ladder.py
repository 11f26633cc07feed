"""Where samples stand among classical controls: planted samplers land on the right rung, counts by hand."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from sample_report import run
from shotclock.bench.judge.ladder import describe_ladder, find_ladder, find_shares
from shotclock.bench.judge.metrics import Prices
from shotclock.bench.judge.summarise import judge_summary
from shotclock.bench.judge.worth import add_worth
from shotclock.bench.record.compared_calls import ComparedCall, ComparedControl, Standing, compare_call
from shotclock.bench.record.rows import StepRow, table
from shotclock.bench.report.run.page import page as draw_page
from shotclock.bench.report.run.terminal import show
from shotclock.bench.report.run.terminal_brief import show_brief
from shotclock.bench.schema import Ladder, Summary
from shotclock.bench.verify.bench_run import check_figures
from shotclock.bench.verify.findings import check_cited, check_worth
from shotclock.domain.circuit import Samples
from shotclock.domain.iteration import Applied, FinishedCall
from shotclock.domain.outcome import (
    Answer,
    Decision,
    Degraded,
    Done,
    Outcome,
    Provenance,
    ProviderFault,
    Winner,
)
from shotclock.domain.ports import Solver
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.solvers.annealing import Annealing
from shotclock.solvers.control_ladder import controls
from shotclock.solvers.exact import Exact
from shotclock.solvers.tabu import Tabu

SHOTS, CALLS, MS = 64, 30, 1_000_000
PRICES = Prices("USD", qpu_second=2.0, gpu_hour=3.6)
ALL = ["greedy", "perturbed-greedy", "random", "annealing", "tabu", "exact"]


def draw_subproblem(n: int, seed: int) -> Subproblem:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.normal(size=(n, n)), k=1)
    return Subproblem(upper + upper.T, rng.normal(size=n))


def finish(subproblem: Subproblem, pool: Bits, *, step: int = 0, cached: bool = False) -> FinishedCall:
    """A call 2 to 3 ms after its boundary whose samples are `pool`, each once."""
    rows, counts = np.unique(pool, axis=0, return_counts=True)
    answer = Answer(rows[0], subproblem.energy(rows[0]), Winner.QUANTUM, "planted")
    provenance = Provenance("planted", True, 0, qpu_s=0.25, samples_at_ns=3 * MS, cached=cached)
    return end(subproblem, Done(answer, Samples(rows, counts), None, provenance), step)


def end(subproblem: Subproblem, outcome: Outcome, step: int = 0) -> FinishedCall:
    return FinishedCall(
        step=step,
        request_id="r",
        subproblem=subproblem,
        boundary_ns=1 * MS,
        received_ns=4 * MS,
        blocked_ns=3 * MS,
        inline=True,
        deadline_ns=200 * MS,
        proposed=StageTiming(Stage.PROPOSE, 1 * MS, 1),
        applying=StageTiming(Stage.APPLY, 4 * MS, 1),
        outcome=outcome,
        applied=Applied(Decision.APPLIED, Winner.QUANTUM, 1),
    )


def climb(calls: Sequence[FinishedCall]) -> Ladder:
    compared = [compare_call("hybrid-colocated", 0, call, controls) for call in calls]
    ladder = find_ladder([subproblem for subproblem in compared if subproblem is not None], PRICES)
    assert ladder is not None
    return ladder


def test_samples_that_hold_the_optimum_are_never_worse_than_any_control() -> None:
    subproblems = [draw_subproblem(10, seed) for seed in range(CALLS)]
    ladder = climb(
        [
            finish(subproblem, Exact().solve(subproblem)[None], step=i)
            for i, subproblem in enumerate(subproblems)
        ]
    )
    assert list(ladder.rungs) == ALL
    assert all(rung.worse.value == 0 for rung in ladder.rungs.values())
    assert ladder.rungs["exact"].equal.value == 1
    assert (ladder.rungs["greedy"].better.value or 0) > 0.2
    assert "matches the optimum in 100.0 % (83.8–100.0 %)" in describe_ladder("hybrid-colocated", ladder)


def test_random_bits_stand_with_random_and_below_every_search() -> None:
    rng = np.random.default_rng(1)
    subproblems = [draw_subproblem(16, seed) for seed in range(CALLS)]
    pools = [rng.integers(0, 2, (SHOTS, 16), dtype=np.uint8) for _ in subproblems]
    ladder = climb(
        [
            finish(subproblem, pool, step=i)
            for i, (subproblem, pool) in enumerate(zip(subproblems, pools, strict=True))
        ]
    )
    for name in ("greedy", "annealing", "tabu", "exact"):
        assert (ladder.rungs[name].better.value or 0) < 0.1
    random = ladder.rungs["random"].better
    assert random.lower_bound is not None
    assert random.upper_bound is not None
    assert random.lower_bound < 0.5 < random.upper_bound


def test_samples_better_than_annealing_are_counted_where_nothing_is_enumerated() -> None:
    drawn = [draw_subproblem(40, seed) for seed in range(CALLS)]

    def weak(subproblem: Subproblem, shots: int, seed: int) -> tuple[Solver, ...]:
        return (Annealing(seed, reads=1, sweeps=2), *controls(subproblem, shots, seed)[4:])

    compared = [
        compare_call("quantum-raw", 0, finish(subproblem, Tabu(99).solve(subproblem)[None], step=i), weak)
        for i, subproblem in enumerate(drawn)
    ]
    ladder = find_ladder([call for call in compared if call is not None], PRICES)
    assert ladder is not None
    assert list(ladder.rungs) == ["annealing", "tabu", "best-known"]
    assert (ladder.rungs["best-known"].better.value or 0) <= (ladder.rungs["tabu"].better.value or 0)
    assert (ladder.rungs["annealing"].better.value or 0) > 0.9
    assert (ladder.rungs["tabu"].better.value or 0) <= 0.1
    words = describe_ladder("quantum-raw", ladder)
    assert "beats annealing in" in words
    assert "the best of them (the optimum is unknown) in" in words
    assert "matches the optimum" not in words


def test_calls_without_new_samples_are_not_compared() -> None:
    subproblem = draw_subproblem(4, 0)
    answer = Answer(np.zeros(4, np.uint8), 0.0, Winner.CLASSICAL, "exact")
    degraded = Degraded(answer, ProviderFault("down"), Provenance("planted", True, 0))
    calls = [end(subproblem, degraded), finish(subproblem, np.zeros((1, 4), np.uint8), cached=True)]
    assert [compare_call("a", 0, call, controls) for call in calls] == [None, None]
    assert find_ladder([], PRICES) is None


def test_energies_within_rounding_are_a_tie_and_the_same_seed_gives_the_same_standings() -> None:
    subproblem = draw_subproblem(12, 3)
    call = finish(subproblem, np.random.default_rng(0).integers(0, 2, (SHOTS, 12), dtype=np.uint8))
    nudged = finish(replace(subproblem, offset=1.0), Exact().solve(subproblem)[None])
    first, second, tie = (compare_call("a", 0, each, controls) for each in (call, call, nudged))
    assert first is not None
    assert second is not None
    assert tie is not None
    standings = [[control.standing for control in call.controls] for call in (first, second)]
    assert standings[0] == standings[1]
    assert tie.controls[-1].standing == "equal"


def build_comparison(quantum_ns: int, qpu_s: float, *controls: tuple[str, Standing, int]) -> ComparedCall:
    compared = tuple(ComparedControl(name, standing, took, 0.0) for name, standing, took in controls)
    return ComparedCall("hybrid-colocated", 0, 0, quantum_ns, qpu_s, compared)


BY_HAND = [
    build_comparison(10 * MS, 0.5, ("greedy", "better", 1 * MS), ("annealing", "worse", 2 * MS)),
    build_comparison(20 * MS, 0.1, ("greedy", "equal", 3 * MS), ("annealing", "equal", 30 * MS)),
    build_comparison(40 * MS, 0.3, ("greedy", "better", 2 * MS), ("annealing", "worse", 4 * MS)),
    build_comparison(30 * MS, 0.1, ("greedy", "worse", 2 * MS)),
]


def test_shares_times_and_money_by_hand() -> None:
    ladder = find_ladder(BY_HAND, PRICES)
    assert ladder is not None
    assert (ladder.calls, ladder.median_ms) == (4, 25.0)
    assert ladder.money == pytest.approx(0.5)
    greedy, annealing = ladder.rungs["greedy"], ladder.rungs["annealing"]
    assert [each.value for each in (greedy.better, greedy.equal, greedy.worse)] == [0.5, 0.25, 0.25]
    assert (greedy.median_ms, greedy.within_call) == (2.0, 4)
    assert greedy.money == pytest.approx(2e-6)  # 2 ms at 0.001 USD a second
    assert (annealing.better.n, annealing.within_call) == (3, 2)
    assert annealing.worse.value == pytest.approx(2 / 3)
    # Clopper–Pearson at 99 %: 2 of 4 is I(0.005; 2, 3) to 1 − that by symmetry.
    assert greedy.better.lower_bound == pytest.approx(0.0294, abs=5e-4)
    assert greedy.better.upper_bound == pytest.approx(1 - 0.0294, abs=5e-4)
    words = describe_ladder("hybrid-colocated", ladder)
    assert "annealing took longer than the QPU in 1 call" in words


def test_scripts_read_the_shares_by_their_names() -> None:
    ladder = find_ladder(BY_HAND, PRICES)
    assert ladder is not None
    shares = find_shares(ladder)
    assert shares.beats_greedy is not None
    assert (shares.beats_greedy.ratio, shares.beats_greedy.n) == (0.5, 4)
    assert shares.beats_greedy.low == pytest.approx(0.0294, abs=5e-4)
    assert shares.beats_greedy.high == pytest.approx(1 - 0.0294, abs=5e-4)
    assert shares.beats_annealing is not None
    assert (shares.beats_annealing.ratio, shares.beats_annealing.n) == (0.0, 3)
    assert (shares.matches_optimum, shares.beats_random, shares.beats_tabu) == (None, None, None)


def with_ladder(steps: list[StepRow], summary: Summary) -> Summary:
    arm = summary.arms["hybrid-colocated"].model_copy(update={"ladder": find_ladder(BY_HAND, PRICES)})
    summary = summary.model_copy(update={"arms": summary.arms | {"hybrid-colocated": arm}})
    return judge_summary(add_worth(summary, table(steps)))


def say(summary: Summary, folder: Path) -> tuple[str, str]:
    streams = io.StringIO(), io.StringIO()
    show(summary, folder, Console(file=streams[0], width=80), ())
    show_brief(summary, folder, Console(file=streams[1], width=80))
    return streams[0].getvalue(), streams[1].getvalue()


def test_the_ladder_is_in_the_summary_the_verdict_the_page_and_on_the_terminal(tmp_path: Path) -> None:
    steps, plain = run()
    summary = with_ladder(steps, plain)
    assert Summary.model_validate_json(summary.model_dump_json(by_alias=True)) == summary
    assert summary.ladder.keys() == {"hybrid-colocated"}
    assert list(check_worth(steps, summary)) == []
    assert list(check_cited(summary)) == []
    assert {str(fault) for fault in check_figures(steps, summary)} == {
        str(fault) for fault in check_figures(steps, plain)
    }
    (sentence,) = [
        sentence for sentence in summary.verdict.sentences if sentence.figures == ("hybrid-colocated.ladder",)
    ]
    assert "beats greedy in 50.0 % (2.9–97.1 %)" in sentence.text
    assert 'id="ladder"' in draw_page(summary, [], [])
    verbose, brief = say(summary, tmp_path)
    assert "Where the QPU stands" in verbose
    assert "hybrid-colocated: beats greedy 50.0 %, annealing 0.0 %" in brief
    assert brief.count("\n") <= 40


def test_a_summary_without_a_ladder_reads_and_renders(tmp_path: Path) -> None:
    _, summary = run()
    text = re.sub(r'"ladder":(null|\{\}),', "", summary.model_dump_json(by_alias=True))
    assert "ladder" not in text
    old = Summary.model_validate_json(text)
    assert old == summary
    assert 'id="ladder"' not in draw_page(old, [], [])
    assert "stands" not in say(old, tmp_path)[0]
