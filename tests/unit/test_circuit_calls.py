"""Calls that a workload makes through a primitive: in which pass, for how long, and their rows."""

from __future__ import annotations

import itertools
import re
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shotclock.app import host
from shotclock.app.circuit_workloads import takes_connection
from shotclock.app.main_job import JobProgress, MainJob, prepare, run
from shotclock.bench.compare.units import _latencies
from shotclock.bench.judge.metrics import by_arm, samples
from shotclock.bench.record.arm_runs import Arm
from shotclock.bench.record.circuit_rows import add_circuit_calls, describe_circuits
from shotclock.bench.record.rows import StepRow, read_table, steps, write
from shotclock.bench.verify.bench_run import check_bench
from shotclock.domain.circuit import Samples
from shotclock.domain.circuit_batch import CircuitBatch, CircuitPoints
from shotclock.domain.errors import SettingsError
from shotclock.domain.iteration import CircuitCall
from shotclock.domain.outcome import CircuitOutcome, DeadlinePassed, Executed, Late, Provenance
from shotclock.domain.ports import CallsCircuits, PendingBatch
from shotclock.runtime.virtual_loop import VirtualLoop
from shotclock.settings import load
from shotclock.training.circuit_calls import CircuitTrainer, CountedCircuits, name_phase
from shotclock.training.loops import medium

MS = 1_000_000
BATCH = CircuitBatch((CircuitPoints("OPENQASM 3.0;", 8, (), np.zeros((1, 0))),), "a/1", budget_ns=1)
EXECUTED = Executed(
    Samples(np.zeros((1, 1), np.uint8), np.array([8])),
    Provenance("emulated", True, 0, job_id="j", attempts=1, qpu_s=0.5, samples_at_ns=5 * MS),
)
LATE = Late(DeadlinePassed(MS), Provenance("emulated", True, 0))
ROOT = Path(__file__).parents[2]
SILENT = JobProgress(lambda text: None, lambda steps, estimate: None, lambda arm, steps: None)


@dataclass
class Clock:
    now: int = 0

    def now_ns(self) -> int:
        return self.now


@dataclass
class Ended:
    clock: Clock
    outcomes: tuple[CircuitOutcome, ...] = (EXECUTED,)

    def done(self) -> bool:
        return True

    def result(self) -> tuple[CircuitOutcome, ...]:
        self.clock.now += 5 * MS
        return self.outcomes

    def cancel(self) -> bool:
        return False


@dataclass
class Caller:
    """A CircuitCaller that takes a millisecond to accept a batch."""

    clock: Clock
    budgets_ns: list[int] = field(default_factory=list)

    def submit(self, batch: CircuitBatch) -> PendingBatch:
        self.budgets_ns.append(batch.budget_ns)
        self.clock.now += MS
        return Ended(self.clock)


class Calls(torch.autograd.Function):
    """Calls once in each pass."""

    @staticmethod
    def forward(context, value, circuits):  # type: ignore[no-untyped-def]
        context.circuits = circuits
        circuits.submit(BATCH).result()
        return value.clone()

    @staticmethod
    def backward(context, gradient):  # type: ignore[no-untyped-def]
        context.circuits.submit(BATCH).result()
        return gradient, None


@dataclass
class TwoPasses:
    """A CircuitWorkload."""

    circuits: CountedCircuits
    name: str = "two"
    samples_per_step: int = 1

    def step(self) -> float:
        value = torch.tensor(1.0, requires_grad=True)
        Calls.apply(value, self.circuits).backward()  # type: ignore[no-untyped-call]
        return 1.0

    def evaluate(self) -> float:
        self.circuits.submit(BATCH).result()
        return 2.0


def test_each_call_of_a_step_has_its_pass_and_times_and_an_evaluation_is_not_counted() -> None:
    clock = Clock()
    caller = Caller(clock)
    circuits = CountedCircuits(caller, clock, 7 * MS)
    workload = TwoPasses(circuits)
    trainer = CircuitTrainer(workload, circuits)
    workload.step()  # warms up
    iteration = trainer.iterate(3)
    workload.evaluate()
    assert isinstance(trainer, CallsCircuits)
    assert iteration.duration_ns == 12 * MS
    assert [(call.step, call.phase, call.blocked_ns) for call in trainer.circuit_calls] == [
        (3, "forward", 6 * MS),
        (3, "backward", 6 * MS),
    ]
    assert set(caller.budgets_ns) == {7 * MS}
    assert name_phase() == "forward"


def make_call(step: int, *outcomes: CircuitOutcome, phase: str = "forward") -> CircuitCall:
    return CircuitCall(step, "a/1", phase, MS, 7 * MS, 6 * MS, 20 * MS, outcomes)


def test_a_call_is_as_late_as_its_last_point_and_a_miss_without_one() -> None:
    later = replace(EXECUTED, provenance=replace(EXECUTED.provenance, job_id="k", samples_at_ns=6 * MS))
    row = describe_circuits(make_call(0, EXECUTED, later, EXECUTED))
    assert row.quantum_latency_ns == 5 * MS
    assert (row.in_time, row.answered, row.qpu_s, row.attempts) == (True, True, 1.5, 2)
    missed = describe_circuits(make_call(0, EXECUTED, LATE))
    assert (missed.outcome, missed.in_time, missed.quantum_latency_ns) == ("late", False, None)
    assert missed.cause == "deadline passed"
    slow = describe_circuits(replace(make_call(0, EXECUTED), deadline_ns=5 * MS))
    assert (slow.outcome, slow.in_time) == ("executed", False)


def make_rows() -> list[StepRow]:
    plain = {
        step: StepRow("hybrid-colocated", 0, step, 9 * MS * step, 9 * MS, 0.5, None, None)
        for step in range(3)
    }
    calls = [make_call(0, EXECUTED), make_call(0, LATE, phase="backward"), make_call(2, EXECUTED)]
    return add_circuit_calls(plain, calls)


def test_further_calls_have_rows_that_add_neither_a_step_nor_time(tmp_path: Path) -> None:
    rows = make_rows()
    assert [(row.step, row.call is not None, row.further_call) for row in rows] == [
        (0, True, False),
        (0, True, True),
        (1, False, False),
        (2, True, False),
    ]
    assert sum(row.total_iteration_time_ns for row in rows) == 27 * MS
    write(rows, tmp_path / "steps.parquet")
    table = read_table(tmp_path / "steps.parquet", whole=True)
    assert steps(table) == rows
    arm = Arm("hybrid-colocated", calls=True, quantum=True, race=True, protected=False, profile="colocated")
    figures = samples(by_arm(rows, [arm])[arm.name])
    assert (figures["quantum_latency"].n, figures["quantum_latency"].missed) == (3, 1)
    assert figures["total_iteration_time"].n == 2
    compared = _latencies("a", table, table.filter(table["called"]), quantum=True)
    assert compared["a.total_iteration_time"].n == 2
    assert compared["a.quantum_latency"].missed == 1


@pytest.fixture
def workload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The example of docs/researcher.md."""
    page = (ROOT / "docs" / "researcher.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(# rotation\.py\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "rotation.py").write_text(example, encoding="utf-8")
    (tmp_path / "plain.py").write_text("def build(seed, size=3):\n    return None\n", encoding="utf-8")
    (tmp_path / "wrong.py").write_text("def build(seed, connection):\n    return 3\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("rotation", "plain", "wrong"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "rotation:build"


def test_a_factory_of_a_seed_and_a_connection_calls_circuits(workload: str) -> None:
    assert takes_connection(workload)
    assert not takes_connection("plain:build")
    assert not takes_connection("digits-mlp")


def test_arms_that_answer_subproblems_are_left_out_or_refused(workload: str, tmp_path: Path) -> None:
    job = MainJob(tmp_path / "run", quick=False, clock="virtual", metrics_port=None)
    prepared = prepare(load(None, {"bench": {"workload": workload}}), job)
    assert {arm.name for arm in prepared.arms} == {
        "classical-only",
        "hybrid-colocated",
        "hybrid-colocated-protected",
        "hybrid-onprem-today",
        "hybrid-public-cloud",
    }
    named = {"workload": workload, "arms": ("classical-only", "quantum-raw")}
    with pytest.raises(SettingsError, match=r"bench\.arms: 'quantum-raw' answers subproblems"):
        prepare(load(None, {"bench": named}), job)
    wrong = {"workload": "wrong:build", "arms": ("classical-only",)}
    with pytest.raises(SettingsError, match=r"wrong:build.*int, which is not a CircuitWorkload"):
        run(load(None, {"bench": wrong}), job, SILENT)


def test_a_benchmark_counts_the_calls_of_both_passes(
    workload: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as in the tests of the main job: software takes the same time on any machine
    monkeypatch.setattr(host, "VirtualLoop", lambda: VirtualLoop(base_ns=itertools.count(0, 1_000).__next__))
    for size in ("WIDTH", "BATCH"):
        monkeypatch.setattr(medium, size, 64)
    bench = {
        "workload": workload,
        "arms": ("classical-only", "hybrid-colocated"),
        "steps": 3,
        "seeds": 1,
        "warmup_steps": 0,
    }
    job = MainJob(tmp_path / "run", quick=False, clock="virtual", metrics_port=None)
    summary, folder = run(load(None, {"bench": bench}), job, SILENT)
    assert summary.status == "complete", summary.failure
    arm = summary.arms["hybrid-colocated"]
    assert (arm.steps, arm.calls, arm.phases) == (3, 6, {"backward": 3, "forward": 3})
    assert arm.outcomes == {"executed": 6}
    assert summary.arms["classical-only"].calls == 0
    assert summary.subject == "circuits"
    assert "which have no classical answer" in summary.verdict.headline
    assert list(check_bench(folder.path)) == []
