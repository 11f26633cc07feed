"""The positive control: the arm of extra steps at equal wall time, and the verdict on solving at all."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from sample_summary import BASE_LOSS, summary
from shotclock.app.arms import match_kernel
from shotclock.app.main_job import parse_arms
from shotclock.bench.judge.summarise import judge_summary
from shotclock.bench.record.arm_runs import CONTROL, LONGER, SOLVERS, parse
from shotclock.bench.record.drive import ArmLane, DrivePlan, drive
from shotclock.bench.report.run.page import page as draw_page
from shotclock.bench.report.run.terminal import show
from shotclock.bench.report.run.terminal_brief import show_brief
from shotclock.bench.schema import Loss, Summary
from shotclock.domain.errors import SettingsError
from shotclock.domain.iteration import CallCounts, FinishedCall, Iteration
from shotclock.domain.subproblem import Subproblem
from shotclock.settings import load
from shotclock.solvers.control_ladder import answer_with
from shotclock.training.layers.rounded import RoundedLinear
from shotclock.training.loops import digits_mlp


@dataclass
class SteadyTrainer:
    """A Trainer whose iterations all take as long."""

    duration_ns: int
    iterations: int = 0
    finished: list[FinishedCall] = field(default_factory=list)
    counts: CallCounts = field(default_factory=CallCounts)

    def iterate(self, step: int) -> Iteration:
        self.iterations += 1
        return Iteration(step, 0, self.duration_ns, 0.5)

    def flush(self) -> None:
        """Nothing is in flight."""


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("first", [CONTROL, LONGER])
@pytest.mark.parametrize(("step_ns", "steps"), [(10, 70), (8, 88), (300, 6)])
def test_the_longer_arm_trains_until_it_is_level_with_the_control(
    first: str, interleaved: bool, step_ns: int, steps: int
) -> None:
    control, longer, plain = SteadyTrainer(duration_ns=100), SteadyTrainer(step_ns), SteadyTrainer(10)
    lanes = [
        ArmLane("classical-only", lambda seed: (plain, lambda: 0.0)),
        ArmLane(CONTROL, lambda seed: (control, lambda: 0.0)),
        ArmLane(LONGER, lambda seed: (longer, lambda: 0.0), as_long_as=CONTROL),
    ]
    lanes.sort(key=lambda lane: lane.name != first)
    log = drive(lanes, DrivePlan(seeds=1, steps=7, block=2, interleaved=interleaved), lambda arm, steps: None)
    if step_ns == 300:
        assert longer.iterations == 7  # at least one step an iteration, however long
        return
    assert (control.iterations, plain.iterations, longer.iterations) == (7, 7, steps)
    ends = {
        name: [row.start_ns + row.total_iteration_time_ns for row in log.steps if row.arm == name]
        for name in (CONTROL, LONGER)
    }
    behind = [late - level for late, level in zip(ends[LONGER], ends[CONTROL], strict=True)]
    assert all(0 <= over < step_ns for over in behind)


def test_the_longer_arm_needs_the_arm_that_it_follows() -> None:
    settings = load(None, {"bench": {"arms": ("classical-only", LONGER)}})
    with pytest.raises(SettingsError, match="trains for as long as 'classical-control'"):
        parse_arms(settings)


def add_longer(below: tuple[float, ...]) -> Summary:
    """classical-longer's loss, so far below classical-control's, which is `BASE_LOSS`."""
    base = summary({})
    per_seed = {seed: loss - under for (seed, loss), under in zip(BASE_LOSS.items(), below, strict=True)}
    longer = base.arms["classical-only"].model_copy(
        update={"loss": Loss(per_seed=per_seed, mean=1.0, improvement=None, interval=None)}
    )
    return base.model_copy(update={"arms": {**base.arms, LONGER: longer}})


@pytest.mark.parametrize(
    ("below", "judged", "where", "excludes"),
    [
        ((-0.2, -0.21, -0.19), "solving the subproblems helps", "0.200 below", "excludes 0"),
        ((0.2, 0.21, 0.19), "solving the subproblems harms", "0.200 above", "excludes 0"),
        ((-0.2, 0.2, -0.3), "it is not shown that solving", "below", "includes 0"),
    ],
)
def test_the_verdict_says_whether_solving_helps(
    below: tuple[float, ...], judged: str, where: str, excludes: str
) -> None:
    sentences = judge_summary(add_longer(below)).verdict.sentences
    (text,) = [sentence.text for sentence in sentences if sentence.text.startswith("Positive control: ")]
    assert judged in text
    assert where in text
    assert excludes in text


def test_without_the_longer_arm_nothing_is_said_of_the_control() -> None:
    sentences = judge_summary(summary({})).verdict.sentences
    assert not [sentence for sentence in sentences if sentence.text.startswith("Positive control")]


def test_arms_of_weaker_solvers_are_in_the_cost_tables_alone(tmp_path: Path) -> None:
    judged = judge_summary(summary({}))
    weak = judged.arms["classical-control"].model_copy(
        update={
            "loss": Loss(per_seed={0: 0.9}, mean=0.9, improvement=0.125, interval=(0.0625, 0.1875)),
        }
    )
    judged = judged.model_copy(update={"arms": {**judged.arms, "classical-greedy": weak}})
    streams = io.StringIO(), io.StringIO()
    show(judged, tmp_path, Console(file=streams[0], width=100), ())
    show_brief(judged, tmp_path, Console(file=streams[1], width=80))
    verbose, brief = (stream.getvalue() for stream in streams)
    assert "0.0625 to 0.188" in verbose
    assert "no /loss: the baseline: classical-only" in verbose
    assert "classical-greedy" not in brief
    assert "and 1 other arm" in brief
    page = draw_page(judged, [], [])
    assert "the same calls, answered by one-flip descent" in page


@pytest.mark.parametrize("arm", [*SOLVERS])
def test_a_weaker_solver_answers_every_call_of_its_arm(arm: str) -> None:
    parsed = parse(arm, ())
    assert parsed is not None
    solver = answer_with(parsed.solver, shots=8)
    assert solver.name == SOLVERS[arm]
    subproblem = Subproblem(np.array([[0.0, 3.0], [3.0, 0.0]]), np.array([-1.0, -2.0]))
    answers = [solver.solve(subproblem).tolist() for _ in range(20)]
    expected = {"magnitude": [[1, 1]], "greedy": [[0, 1]]}
    if solver.name in expected:
        assert answers == 20 * expected[solver.name]
    else:
        assert answers.count([0, 1]) > 10  # of 8 candidates among 4, one is the optimum in 9 calls of 10


def test_only_biases_of_the_quantized_network_train() -> None:
    workload = digits_mlp.build_quantized(0)
    before = {name: value.detach().clone() for name, value in workload.model.named_parameters()}
    for _ in range(3):
        workload.step()
    moved = {
        name
        for name, value in workload.model.named_parameters()
        if not torch.equal(value.detach(), before[name])
    }
    assert moved == {name for name in before if name.endswith("bias")}
    assert sum(isinstance(module, RoundedLinear) for module in workload.model.modules()) == 4


@pytest.mark.parametrize(
    ("workload", "kernel"),
    [
        ("digits-mlp", "qat_flip"),
        ("digits-quantized", "task_rounding"),
        ("digits-rounded", "rounding"),
        ("digits-gated", "prune_mask"),
        ("digits-rerank", "diverse_rerank"),
    ],
)
def test_the_kernel_follows_the_workload_unless_it_is_named(workload: str, kernel: str) -> None:
    assert match_kernel(load(None, {"bench": {"workload": workload}})).kernel.name == kernel
    named = load(None, {"bench": {"workload": workload}, "kernel": {"name": "prune_mask"}})
    assert match_kernel(named).kernel.name == "prune_mask"
