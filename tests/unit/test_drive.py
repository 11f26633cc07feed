"""The driver: turns rotate, rows are whole, Ctrl-C keeps what has run."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from shotclock.bench.judge.metrics import by_arm, common_steps
from shotclock.bench.record.arm_runs import parse
from shotclock.bench.record.drive import ArmLane, DrivePlan, Log, drive
from shotclock.domain.errors import SubproblemError
from shotclock.domain.iteration import CallCounts, FinishedCall, Iteration


@dataclass
class CountingTrainer:
    """A Trainer whose iterations take a millisecond, and which writes down its turns."""

    name: str
    turns: list[str]
    interrupt_at: int | None = None
    finished: list[FinishedCall] = field(default_factory=list)
    flushed: bool = False
    counts: CallCounts = field(default_factory=lambda: CallCounts(asked=3, in_flight=2, retry_after=1))

    def iterate(self, step: int) -> Iteration:
        if step == self.interrupt_at:
            raise KeyboardInterrupt
        self.turns.append(self.name)
        return Iteration(step, 0, 1_000_000, 0.5)

    def flush(self) -> None:
        self.flushed = True


def run(plan: DrivePlan, interrupt_at: int | None = None) -> tuple[Log, list[str], dict[str, int]]:
    turns: list[str] = []
    progress: dict[str, int] = {}

    def lane(name: str, stop: int | None = None) -> ArmLane:
        return ArmLane(
            name, lambda seed: (CountingTrainer(name, turns, stop if seed == 1 else None), lambda: 0.25)
        )

    def advance(arm: str, steps: int) -> None:
        progress[arm] = progress.get(arm, 0) + steps

    lanes = [lane("classical-only"), lane("classical-control", interrupt_at), lane("quantum-raw")]
    return drive(lanes, plan, advance), turns, progress


def test_arms_take_turns_of_a_block_and_the_order_rotates() -> None:
    _, turns, progress = run(DrivePlan(seeds=1, steps=6, block=2, interleaved=True))
    blocks = [turns[i] for i in range(0, len(turns), 2)]
    assert blocks[:3] == ["classical-only", "classical-control", "quantum-raw"]
    assert blocks[3:6] == ["classical-control", "quantum-raw", "classical-only"]
    assert progress == {"classical-only": 6, "classical-control": 6, "quantum-raw": 6}


def test_sequential_order_runs_each_arm_to_its_end() -> None:
    _, turns, _ = run(DrivePlan(seeds=1, steps=4, block=2, interleaved=False))
    assert turns == ["classical-only"] * 4 + ["classical-control"] * 4 + ["quantum-raw"] * 4


def test_rows_lie_end_to_end_on_the_arms_own_time_line_and_each_block_is_evaluated() -> None:
    log, _, _ = run(DrivePlan(seeds=2, steps=5, block=2, interleaved=True))
    rows = [step for step in log.steps if step.arm == "quantum-raw" and step.seed == 1]
    assert [row.start_ns for row in rows] == [i * 1_000_000 for i in range(5)]
    assert [row.eval_loss for row in rows] == [None, 0.25, None, 0.25, 0.25]


def test_an_interrupt_keeps_the_rows_and_marks_the_run() -> None:
    log, _, _ = run(DrivePlan(seeds=3, steps=6, block=2, interleaved=True), interrupt_at=3)
    assert log.interrupted
    seeds = {step.seed for step in log.steps}
    assert seeds == {0, 1}
    arms = [parse(name, ()) for name in ("classical-only", "classical-control", "quantum-raw")]
    rows = by_arm(log.steps, [arm for arm in arms if arm is not None])
    assert common_steps(rows.values()) == 2


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SubproblemError("linear", "has NaN or infinite coefficients"), r"subproblem\.linear: has NaN or .*"),
        (ValueError("the user's own"), rf"ValueError: the user's own \({re.escape(__file__)}:\d+\)"),
    ],
    ids=["on purpose", "a workload's own"],
)
def test_an_error_keeps_the_rows_and_says_where(error: Exception, message: str) -> None:
    def failing(seed: int) -> tuple[CountingTrainer, Callable[[], float]]:
        trainer = CountingTrainer("classical-control", [])

        def iterate(step: int) -> Iteration:
            if (seed, step) == (1, 2):
                raise error
            return Iteration(step, 0, 1, 0.5)

        trainer.iterate = iterate  # type: ignore[method-assign]
        return trainer, lambda: 0.25

    plan = DrivePlan(seeds=3, steps=4, block=2, interleaved=True)
    log = drive([ArmLane("classical-control", failing)], plan, lambda arm, steps: None)
    assert re.fullmatch(rf"seed 1: classical-control, step 2: {message}", log.failure)
    assert [(step.seed, step.step) for step in log.steps] == [*((0, i) for i in range(4)), (1, 0), (1, 1)]


def test_due_calls_that_were_not_asked_are_counted_by_reason_over_all_seeds() -> None:
    log, _, _ = run(DrivePlan(seeds=2, steps=2, block=2, interleaved=True))
    assert log.skipped["quantum-raw"] == {"in_flight": 4, "retry_after": 2}
