"""The pre-evaluation: what it decides against greedy, whom it lets through, and what a run says of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

import synthetic
from harness import Inline, random_subproblem
from shotclock.app.preview import LocalPreview, draw
from shotclock.bench.analysis import Estimate, PreEvaluated
from shotclock.bench.judge.pre_evaluation import describe_pre_evaluations, find_pre_evaluated
from shotclock.bench.record.rows import CallRow
from shotclock.circuits.angles import parameters
from shotclock.domain.circuit import Bound, DeviceCircuit, Template
from shotclock.domain.outcome import PreEvaluation, SubmitDecision
from shotclock.domain.subproblem import Subproblem
from shotclock.solvers.exact import Exact
from shotclock.solvers.greedy import Greedy

SUBMIT, VETO, CALIBRATE = SubmitDecision.SUBMIT, SubmitDecision.VETO, SubmitDecision.CALIBRATE
TEMPLATE = Template("key", "none", (0,), b"", 0.0, 0, 0)


def decide(subproblem: Subproblem, calibration: float) -> PreEvaluation | None:
    circuit = DeviceCircuit(TEMPLATE, parameters(subproblem, Greedy().solve(subproblem)))
    return asyncio.run(LocalPreview(Inline(), Greedy(), 256, calibration)(subproblem, circuit, 256))


def test_only_what_greedy_leaves_to_gain_is_submitted() -> None:
    optimal = wrong = 0
    for seed in range(60):
        subproblem = random_subproblem(8, seed)
        greedy, exact = (subproblem.energy(solver.solve(subproblem)) for solver in (Greedy(), Exact()))
        evaluation = decide(subproblem, 0.0)
        assert evaluation is not None
        assert evaluation.incumbent_energy == pytest.approx(min(0.0, greedy))
        if exact < greedy - 1e-9:
            wrong += evaluation.decision is not SUBMIT
            assert (evaluation.expected_gain > 0) == (evaluation.decision is SUBMIT)
        else:
            optimal += 1
            assert (evaluation.decision, evaluation.expected_gain) == (VETO, 0.0)
    assert 10 <= optimal <= 50
    assert wrong <= 0.2 * (60 - optimal)


def test_the_calibration_share_depends_on_the_content_alone() -> None:
    zero = Subproblem(np.zeros((3, 3)), np.zeros(3))
    assert [evaluation.decision for share in (0.0, 1.0) if (evaluation := decide(zero, share))] == [
        VETO,
        CALIBRATE,
    ]
    subproblems = [random_subproblem(3, seed) for seed in range(400)]
    drawn = [draw(subproblem) for subproblem in subproblems]
    again = [
        replace(each, request_id="retry", base_version=9, offset=1.0, fresh=True) for each in subproblems
    ]
    assert [draw(subproblem) for subproblem in again] == drawn
    assert 20 <= sum(each < 0.1 for each in drawn) <= 60


def test_it_cannot_tell_of_a_circuit_that_is_not_qaoa_or_too_wide() -> None:
    local, small, wide = LocalPreview(Inline(), Greedy(), 256, 0.1), random_subproblem(2, 0), 21
    large = random_subproblem(wide, 0)
    bound = DeviceCircuit(TEMPLATE, Bound(b"", 2, 2))
    qaoa = DeviceCircuit(TEMPLATE, parameters(large, Greedy().solve(large)))
    assert asyncio.run(local(small, bound, 64)) is None
    assert asyncio.run(local(large, qaoa, 64)) is None


def calls(*groups: tuple[SubmitDecision, bool | None, int]) -> list[CallRow]:
    base = next(step.call for step in synthetic.rows(synthetic.SMALL) if step.call is not None)
    return [
        replace(base, submit_decision=decision, beats_incumbent=beats, qpu_s=0.0 if decision is VETO else 0.1)
        for decision, beats, number in groups
        for _ in range(number)
    ]


def test_precision_recall_and_savings_by_hand() -> None:
    evaluation = find_pre_evaluated(
        calls((SUBMIT, True, 15), (SUBMIT, False, 5), (SUBMIT, None, 2), (VETO, None, 90))
        + calls((CALIBRATE, True, 1), (CALIBRATE, False, 9))
    )
    assert evaluation is not None
    assert (evaluation.submitted, evaluation.vetoed, evaluation.calibrated) == (22, 90, 10)
    assert (evaluation.precision.value, evaluation.precision.n) == (0.75, 20)
    assert (evaluation.missed.value, evaluation.missed.n) == (0.1, 10)
    # 22 · 0.75 gains found, 100 · 0.1 missed
    assert evaluation.recall.value == pytest.approx(16.5 / 26.5)
    assert evaluation.recall.lower_bound is not None
    assert evaluation.recall.upper_bound is not None
    assert 0.0 < evaluation.recall.lower_bound < 16.5 / 26.5 < evaluation.recall.upper_bound < 1.0
    assert evaluation.saved_qpu_s == pytest.approx(9.0)


UNKNOWN = (None, None, None)


def values(estimate: Estimate) -> tuple[float | None, float | None, float | None]:
    return estimate.value, estimate.lower_bound, estimate.upper_bound


def test_the_unknown_is_never_zero() -> None:
    assert find_pre_evaluated([]) is None
    uncalibrated = find_pre_evaluated(calls((SUBMIT, True, 5), (VETO, None, 7)))
    assert uncalibrated is not None
    assert values(uncalibrated.missed) == values(uncalibrated.recall) == UNKNOWN
    idle = find_pre_evaluated(calls((VETO, None, 7)))
    assert idle is not None
    assert values(idle.precision) == values(idle.recall) == UNKNOWN
    assert idle.saved_qpu_s is None
    all_submitted = find_pre_evaluated(calls((SUBMIT, True, 5)))
    assert all_submitted is not None
    assert all_submitted.recall.value == 1.0
    without_gain = find_pre_evaluated(calls((SUBMIT, False, 5), (CALIBRATE, False, 5)))
    assert without_gain is not None
    assert without_gain.recall.value is None


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        (
            find_pre_evaluated(calls((SUBMIT, True, 3), (SUBMIT, False, 1), (VETO, None, 5))),
            "vetoed 5 of 9 calls, which saved about 0.500 QPU s (0.800 USD); of 4 expected to beat greedy "
            "and no change, 75.0 % (",
        ),
        (
            find_pre_evaluated(calls((SUBMIT, True, 3), (VETO, None, 5))),
            "its recall is unknown, as no vetoed call was submitted for calibration with samples.",
        ),
        (
            find_pre_evaluated(calls((VETO, None, 5))),
            "; what that saved is unknown, as no such call ran; of",
        ),
        (
            find_pre_evaluated(calls((SUBMIT, True, 4), (CALIBRATE, True, 1), (CALIBRATE, False, 1))),
            "by 2 vetoed calls submitted for calibration, it finds 80.0 % (",
        ),
    ],
)
def test_the_verdict_says_it(evaluation: PreEvaluated, message: str) -> None:
    summary = synthetic.summary(synthetic.rows(synthetic.SMALL), synthetic.SMALL)
    name = "hybrid-colocated-protected"
    arms = {name: summary.arms[name].model_copy(update={"pre_evaluated": evaluation})}
    (sentence,) = describe_pre_evaluations(summary.model_copy(update={"arms": arms}))
    assert message in sentence.text
    assert sentence.figures == (f"{name}.pre_evaluated",)
