"""An emulation too slow for the time it emulates invalidates latencies, and never blames the QPU."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
import pytest

import synthetic
from harness import FACTS, Inline
from queueing import MS, Queue, late, run_load
from sample_summary import Call, summary
from shotclock.app.host import VirtualHost
from shotclock.app.quantum_path import PathPolicy, assemble
from shotclock.bench.judge.gates import Threshold, judge, resolve
from shotclock.bench.judge.metrics import by_arm
from shotclock.bench.judge.summarise import judge_summary
from shotclock.bench.load.arrivals import ArrivalPlan, Scenario
from shotclock.bench.load.judge import judge as judge_load
from shotclock.bench.record.arm_runs import parse
from shotclock.bench.schema import GateResult, Result, Summary
from shotclock.cli.bench import _failure, exit_code
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.outcome import Outcome
from shotclock.domain.ports import Offload
from shotclock.domain.subproblem import Subproblem
from shotclock.emulator import profile as profiles
from shotclock.emulator.provider import EmulatedProvider
from shotclock.orchestrator.answers import Fallback
from shotclock.settings import load
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder

P = ParamSpec("P")
T = TypeVar("T")
SERVER = ArrivalPlan(Scenario.SERVER, rate_per_s=100, duration_s=20, deadline_ns=200 * MS)
ARM = "hybrid-colocated"
MACHINE = "latencies are this machine's, not a QPU's"


class SlowOffload:
    """An offload that takes ten virtual seconds."""

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        await asyncio.sleep(10.0)
        return work(*args, **kwargs)


class BlockingOffload:
    """Work in place that lets ten virtual seconds pass, as a simulation does on the loop's own thread."""

    def __init__(self, host: VirtualHost) -> None:
        self._host = host

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        self._host._loop.advance(10 * NS_PER_S)
        return work(*args, **kwargs)


def answer_late(host: VirtualHost, offload: Offload) -> Outcome:
    """A call of 0.5 s through the whole path, on a provider that computes with this offload."""
    settings = load(None, {"kernel": {"n": 3}})
    provider = EmulatedProvider(FACTS, profiles.load("colocated"), offload, host.clock, seed=0)
    policy = PathPolicy(False, Fallback.RACE, 1)
    recorder = PrometheusRecorder(Metrics(), "test")
    path = assemble(host, settings, settings.quantum, provider, policy, recorder)
    subproblem = Subproblem(np.zeros((3, 3)), np.array([1.0, -1.0, 2.0]), budget_ns=NS_PER_S // 2)
    host.run(path.orchestrator.start(subproblem))
    try:
        return host.run(path.orchestrator.solve(subproblem))
    finally:
        host.run(path.orchestrator.stop())
        host.close()


@pytest.mark.parametrize("kind", ["elsewhere", "in place"])
def test_a_call_that_is_late_because_of_the_emulation_says_so(kind: str) -> None:
    host = VirtualHost()
    outcome = answer_late(host, SlowOffload() if kind == "elsewhere" else BlockingOffload(host))
    assert type(outcome).__name__ == "Degraded"
    assert outcome.provenance.emulator_overrun


def test_a_call_in_time_says_nothing_of_it() -> None:
    outcome = answer_late(VirtualHost(), Inline())
    assert type(outcome).__name__ == "Done"
    assert not outcome.provenance.emulator_overrun


def test_a_load_is_invalid_where_its_percentile_may_be_an_overrun() -> None:
    calls = run_load(SERVER, Queue(lambda number: 0.005))
    few, many = len(calls) // 200, len(calls) // 50
    for overruns, is_valid in ((0, True), (few, True), (many, False), (len(calls), False)):
        marked = [replace(call, emulator_overrun=at < overruns) for at, call in enumerate(calls)]
        load_run = judge_load(marked, SERVER, "quantum")
        assert (load_run.faults == ()) is is_valid
        if not is_valid:
            assert load_run.result is Result.INCONCLUSIVE
            assert load_run.why.startswith(
                "invalid: the emulation computed for longer than the time it emulates"
            )
            assert MACHINE in load_run.faults[0]


def test_a_load_of_late_calls_alone_is_no_failure_of_the_qpu() -> None:
    calls = run_load(SERVER, Queue(lambda number: 0.005, lambda number: late))
    assert judge_load(calls, SERVER, "quantum").result is Result.FAIL
    marked = [replace(call, emulator_overrun=True) for call in calls]
    assert judge_load(marked, SERVER, "quantum").result is Result.INCONCLUSIVE


def gate_of(overruns: int, limit: float, metric: str, direction: str) -> GateResult:
    arm = parse(ARM, ("colocated",))
    assert arm is not None
    rows = by_arm([step for step in synthetic.rows() if step.arm == ARM], [arm])[ARM]
    for step in [step for step in rows.steps if step.call is not None][:overruns]:
        assert step.call is not None
        rows.steps[rows.steps.index(step)] = replace(step, call=replace(step.call, emulator_overrun=True))
    threshold = Threshold(f"{ARM}.{metric}", limit, direction)  # type: ignore[arg-type]
    return judge(threshold, resolve(threshold, [arm]), rows)


@pytest.mark.parametrize(
    ("metric", "limit", "direction", "result"),
    [
        ("quantum_latency.p95_ms", 0.001, "max", Result.FAIL),
        ("quantum_latency.p50_ms", 30_000.0, "max", Result.PASS),
        ("quantum_share", 0.5, "min", Result.PASS),
    ],
)
def test_a_threshold_on_overrun_calls_is_neither_met_nor_missed(
    metric: str, limit: float, direction: str, result: Result
) -> None:
    assert gate_of(0, limit, metric, direction).result is result
    gate = gate_of(10_000, limit, metric, direction)
    assert (gate.result, gate.needed) == (Result.INCONCLUSIVE, None)
    assert gate.why.startswith("invalid: the emulation")


def overrun_in(run: Summary, overruns: int) -> Summary:
    arm = run.arms[ARM].model_copy(update={"emulator_overruns": overruns, "outcomes": {"done": 10}})
    return judge_summary(run.model_copy(update={"arms": {**run.arms, ARM: arm}}))


@pytest.mark.parametrize("gate", [Result.PASS, Result.FAIL, Result.INCONCLUSIVE])
def test_a_run_of_overruns_is_invalid_in_the_headline_and_inconclusive(gate: Result) -> None:
    slow = Call(waits_ms=2_300.0, p95_ms=2_400.0, gate=gate, wins=5)
    verdict = overrun_in(summary({ARM: slow}), 190).verdict
    assert verdict.headline.startswith(f"INVALID latencies of {ARM}: the emulation computed for longer")
    assert f"in 190 of 200 calls, so {MACHINE}" in verdict.headline
    assert (verdict.worth, verdict.way) == ("undecided", "not settled")
    assert verdict.modes == {ARM: "not settled"}


@pytest.mark.parametrize("thresholds", [(), (Result.PASS,), (Result.INCONCLUSIVE,)])
def test_a_run_of_overruns_is_inconclusive_under_strict(thresholds: tuple[Result, ...]) -> None:
    gate = gate_of(0, 0.5, "quantum_share", "min")
    gates = tuple(gate.model_copy(update={"result": threshold}) for threshold in thresholds)
    run = summary({ARM: Call(waits_ms=120.0, p95_ms=140.0)}).model_copy(update={"thresholds": gates})
    unsettled = 5 if Result.INCONCLUSIVE in thresholds else 0
    assert (exit_code(run, strict=True), exit_code(run, strict=False)) == (unsettled, 0)
    invalid = overrun_in(run, 190)
    assert (exit_code(invalid, strict=True), exit_code(invalid, strict=False)) == (5, 0)


def test_the_last_line_under_strict_says_which_latencies_are_invalid() -> None:
    invalid = overrun_in(summary({ARM: Call(waits_ms=120.0, p95_ms=140.0)}), 190)
    line = _failure(invalid, Path("runs/1"), exit_code(invalid, strict=True))
    assert line.startswith(f"INCONCLUSIVE: INVALID latencies of {ARM}: the emulation computed for longer")


def test_a_single_overrun_among_many_calls_leaves_the_verdict() -> None:
    run = summary({ARM: Call(waits_ms=120.0, p95_ms=140.0)})
    arm = run.arms[ARM].model_copy(update={"emulator_overruns": 1, "outcomes": {"done": 200}})
    verdict = judge_summary(run.model_copy(update={"arms": {**run.arms, ARM: arm}})).verdict
    assert verdict.headline.startswith("Not worth it")
    assert verdict.modes == {ARM: "inline"}
    assert any(
        "1 of 200 calls; those latencies are this machine's" in sentence.text
        for sentence in verdict.sentences
    )
