"""The Dispatcher contract, and the orchestrator's promise: one outcome a call, by its deadline.

On virtual time: the production code with a scripted provider, to the nanosecond.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness import LoopClock, run_virtual
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.circuit import DeviceCircuit, Samples
from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.domain.outcome import (
    DeadlinePassed,
    Decision,
    Degraded,
    Done,
    Failed,
    Late,
    Outcome,
    PreEvaluation,
    ProviderFault,
    Rejection,
    Shed,
    SubmitDecision,
    Winner,
)
from shotclock.domain.ports import Dispatcher, Job
from shotclock.domain.stages import Stage
from shotclock.domain.subproblem import Subproblem
from shotclock.orchestrator.answers import Fallback
from shotclock.orchestrator.control import ClassicalDispatcher
from shotclock.orchestrator.planning import ShotLimits
from shotclock.providers.scripted import UNLIMITED, Fail, Never, Reply, ScriptedProvider
from shotclock.solvers.fallback import Classical
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder
from virtual_orchestrator import N, NullSynthesizer, System, make_scripted, make_subproblem, one, simulate


def control(metrics: Metrics | None = None) -> Dispatcher:
    metrics = metrics or Metrics()
    return ClassicalDispatcher(Classical(), LoopClock(), PrometheusRecorder(metrics, "control"))


@pytest.mark.parametrize("kind", ["orchestrator", "control"])
def test_contract_an_answer_is_never_worse_than_doing_nothing_or_the_optimum(kind: str) -> None:
    async def ask(dispatcher: Dispatcher) -> list[tuple[Subproblem, Outcome]]:
        subproblems = [make_subproblem(seed) for seed in range(8)]
        return [(subproblem, await dispatcher.solve(subproblem)) for subproblem in subproblems]

    if kind == "control":

        async def main() -> list[tuple[Subproblem, Outcome]]:
            return await ask(control())

        answered = run_virtual(main())
    else:
        answered = simulate(make_scripted(), lambda system: ask(system.orchestrator))
    for subproblem, outcome in answered:
        assert isinstance(outcome, Done)
        assert outcome.provenance.base_version == 7
        assert outcome.answer.energy == pytest.approx(subproblem.energy(outcome.answer.bits))
        exact = subproblem.energy(Classical().solve(subproblem))
        assert outcome.answer.energy <= min(exact, subproblem.offset) + 1e-9


def test_done_carries_the_pool_and_the_provenance() -> None:
    outcome = one(make_scripted())
    assert isinstance(outcome, Done)
    assert outcome.samples.shots == 64
    stages = [timing.stage for timing in outcome.provenance.stages]
    assert stages == [
        Stage.ADMISSION_WAIT,
        Stage.SUBMISSION_BUCKET_WAIT,
        Stage.BIND,
        Stage.CIRCUIT_SUBMIT_LATENCY,
        Stage.QPU_QUEUE_WAIT,
        Stage.QPU_EXEC_TIME,
        Stage.COLLECT,
        Stage.POSTPROC_TIME,
    ]
    assert outcome.provenance.attempts == 1
    assert outcome.provenance.raw_gain <= outcome.provenance.classical_gain + 1e-9


def test_ties_are_credited_to_classical() -> None:
    # every state comes back, so the optimum is among the samples; exact finds it too
    everything = Samples(
        ((np.arange(2**N)[:, None] >> np.arange(N)) & 1).astype(np.uint8), np.ones(2**N, np.int64)
    )
    outcome = one(make_scripted(Reply(0.01, (everything,))))
    assert isinstance(outcome, Done)
    assert outcome.answer.winner is Winner.CLASSICAL
    assert outcome.provenance.raw_gain == pytest.approx(outcome.provenance.classical_gain)


def test_without_a_race_the_samples_stand_alone() -> None:
    outcome = one(make_scripted(fallback=Fallback.NONE))
    assert isinstance(outcome, Done)
    assert outcome.classical is None
    assert outcome.answer.winner in {Winner.QUANTUM, Winner.INCUMBENT}


def test_a_qpu_that_never_answers_degrades_by_the_deadline() -> None:
    def work(system: System) -> Coroutine[Any, Any, tuple[Outcome, float]]:
        async def measure_solve() -> tuple[Outcome, float]:
            loop = asyncio.get_running_loop()
            began = loop.time()
            outcome = await system.orchestrator.solve(make_subproblem())
            return outcome, loop.time() - began

        return measure_solve()

    outcome, took_s = simulate(make_scripted(afterwards=Never()), work)
    assert isinstance(outcome, Degraded)
    assert outcome.cause == DeadlinePassed(200 * NS_PER_MS)
    assert took_s <= 0.2
    exact = make_subproblem()
    assert exact.energy(outcome.answer.bits) == pytest.approx(
        min(exact.offset, exact.energy(Classical().solve(exact)))
    )


def test_a_deadline_cancels_the_job_and_frees_its_lane() -> None:
    async def work(system: System) -> tuple[Outcome, Outcome, int]:
        first = await system.orchestrator.solve(make_subproblem(0))
        await asyncio.sleep(0.001)
        second = await system.orchestrator.solve(make_subproblem(1))
        return first, second, system.provider.cancels

    first, second, cancels = simulate(make_scripted(Never()), work)
    assert isinstance(first, Degraded)
    assert isinstance(second, Done)
    assert cancels == 1


@pytest.mark.parametrize(
    ("fallback", "kind"), [(Fallback.RACE, Degraded), (Fallback.STANDBY, Degraded), (Fallback.NONE, Late)]
)
def test_late_only_where_no_classical_answer_was_wanted(fallback: Fallback, kind: type[Outcome]) -> None:
    assert isinstance(one(make_scripted(afterwards=Never(), fallback=fallback)), kind)


def test_a_full_queue_refuses_with_the_limit_and_when_to_retry() -> None:
    async def work(system: System) -> list[Outcome]:
        calls = [system.orchestrator.solve(make_subproblem(seed, budget_ms=60_000)) for seed in range(9)]
        return await asyncio.gather(*calls)

    # five lanes take five calls once they run; all nine arrive before any lane does
    outcomes = simulate(make_scripted(fallback=Fallback.NONE, queue_limit=4), work)
    shed = [outcome for outcome in outcomes if isinstance(outcome, Shed)]
    assert len(shed) == 5
    rejection = shed[0].rejection
    assert (rejection.limit, rejection.allowed, rejection.present) == ("queue_limit", 4, 4)
    assert rejection.retry_after_s > 0
    assert "4 calls waiting" in str(rejection)


def test_the_queue_is_served_earliest_deadline_first() -> None:
    async def work(system: System) -> list[str]:
        order: list[str] = []

        async def call(seed: int, budget_ms: float) -> None:
            await system.orchestrator.solve(make_subproblem(seed, budget_ms))
            order.append(f"r{seed}")

        async with asyncio.TaskGroup() as group:
            group.create_task(call(0, 9_000))
            group.create_task(call(1, 8_000))
            group.create_task(call(2, 7_000))
        return order

    def narrow() -> System:
        limits = replace(UNLIMITED, lanes=1)
        return System(ScriptedProvider(LoopClock(), afterwards=Reply(0.05), limits=limits))

    assert simulate(narrow, work) == ["r2", "r1", "r0"]


def test_shedding_refuses_what_cannot_finish_and_still_answers() -> None:
    outcome = one(make_scripted(predicted_s=3.0, protected=True))
    assert isinstance(outcome, Degraded)
    assert isinstance(outcome.cause, Rejection)
    assert outcome.cause.limit == "remaining_budget"
    assert outcome.cause.present == pytest.approx(3.0)
    assert outcome.provenance.attempts == 0


def test_a_transient_fault_is_retried_and_counted() -> None:
    fault = ProviderError(FaultKind.TRANSIENT, "busy")

    async def work(system: System) -> tuple[Outcome, float]:
        return await system.orchestrator.solve(make_subproblem(budget_ms=5_000)), system.value(
            "qpu_job_retries_total"
        )

    outcome, retries = simulate(make_scripted(Fail(fault), Fail(fault, on="collect")), work)
    assert isinstance(outcome, Done)
    assert outcome.provenance.attempts == 3
    assert retries == 2


@pytest.mark.parametrize(
    ("kind", "attempts"), [(FaultKind.TRANSIENT, 3), (FaultKind.PERMANENT, 1), (FaultKind.AMBIGUOUS, 1)]
)
def test_an_ambiguous_or_permanent_fault_is_never_repeated(kind: FaultKind, attempts: int) -> None:
    fault = Fail(ProviderError(kind, "the door is shut"))

    async def work(system: System) -> tuple[Outcome, int]:
        return await system.orchestrator.solve(make_subproblem(budget_ms=60_000)), system.provider.submits

    outcome, submits = simulate(make_scripted(fault, fault, fault, fault, fallback=Fallback.NONE), work)
    assert isinstance(outcome, Failed)
    assert outcome.cause == ProviderFault("the door is shut")
    assert submits == attempts


def test_retrying_never_outlives_the_deadline() -> None:
    faults = [Fail(ProviderError(FaultKind.TRANSIENT, "busy")) for _ in range(3)]
    outcome = one(make_scripted(*faults), budget_ms=1)
    assert isinstance(outcome, Degraded)


def test_samples_that_do_not_fit_are_a_fault_not_an_answer() -> None:
    wide = Samples(np.zeros((1, N + 1), np.uint8), np.array([64]))
    few = Samples(np.zeros((1, N), np.uint8), np.array([63]))
    for wrong in (wide, few):
        outcome = one(make_scripted(Reply(0.01, (wrong,))))
        assert isinstance(outcome, Degraded)
        assert isinstance(outcome.cause, ProviderFault)


def test_a_caller_that_goes_away_cancels_its_job() -> None:
    async def work(system: System) -> int:
        call = asyncio.create_task(system.orchestrator.solve(make_subproblem(budget_ms=60_000)))
        await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.sleep(0.01)
        return system.provider.cancels

    assert simulate(make_scripted(afterwards=Never()), work) == 1


def test_a_bug_in_the_path_reaches_the_caller_and_not_the_lane() -> None:
    class Broken(NullSynthesizer):
        async def bind(self, subproblem: Subproblem, line: tuple[int, ...] = ()) -> DeviceCircuit:
            if subproblem.request_id == "r1":
                raise ZeroDivisionError
            return await super().bind(subproblem, line)

    async def work(system: System) -> Outcome:
        with pytest.raises(ZeroDivisionError):
            await system.orchestrator.solve(make_subproblem(1))
        return await system.orchestrator.solve(make_subproblem(2))

    assert isinstance(simulate(make_scripted(synthesizer=Broken()), work), Done)


def test_a_bug_of_a_provider_costs_its_call_the_qpu_and_not_the_classical_answer() -> None:
    async def work(system: System) -> tuple[Outcome, Outcome]:
        first = await system.orchestrator.solve(make_subproblem(0))
        return first, await system.orchestrator.solve(make_subproblem(1))

    def build_broken() -> System:
        return make_scripted(Fail(ZeroDivisionError("bug")))()  # type: ignore[arg-type]

    first, second = simulate(build_broken, work)
    # Whether the job runs is not known, so it is looked for until the deadline; the answer is classical.
    assert isinstance(first, Degraded)
    assert isinstance(second, Done)


def test_metrics_are_counted_from_the_path() -> None:
    async def work(system: System) -> System:
        for seed in range(4):
            await system.orchestrator.solve(make_subproblem(seed))
        return system

    system = simulate(make_scripted(*[Reply(0.05)] * 3, afterwards=Never()), work)
    assert system.value("circuit_submit_latency_seconds_count") == 4
    assert system.value("hybrid_call_success_ratio") == 0.75
    assert system.value("shotclock_calls_in_time_total", answer="samples") == 3
    assert system.value("shotclock_calls_in_time_total", answer="classical") == 1
    assert system.value("shotclock_call_duration_seconds_count", outcome="done") == 3
    assert system.value("shotclock_call_duration_seconds_bucket", outcome="degraded", le="0.2") == 1
    assert system.value("shotclock_stage_duration_seconds_sum", stage="execute") == pytest.approx(0.15)
    assert system.value("shotclock_calls_total", outcome="done") == 3
    assert system.value("shotclock_calls_total", outcome="degraded") == 1
    assert system.value("qpu_queue_length") == 0


def test_the_control_counts_every_decision() -> None:
    metrics = Metrics()

    async def decide() -> None:
        dispatcher = control(metrics)
        for decision in Decision:
            await dispatcher.record_decision("r1", decision)

    run_virtual(decide())
    value, client = metrics.registry.get_sample_value, {"client": "control"}
    assert value("stale_parameter_count", client) == 3
    for decision in Decision:
        assert value("shotclock_decisions_total", {**client, "decision": decision}) == 1
    assert value("shotclock_stale_decisions_total", {**client, "decision": Decision.CONFLICT}) == 1


def test_the_same_script_gives_the_same_trace() -> None:
    def trace() -> list[tuple[str, int, int]]:
        async def work(system: System) -> list[tuple[str, int, int]]:
            outcomes = await asyncio.gather(
                *(system.orchestrator.solve(make_subproblem(seed)) for seed in range(4))
            )
            return [
                (str(timing.stage), timing.start_ns, timing.duration_ns)
                for outcome in outcomes
                for timing in outcome.provenance.stages
            ]

        return simulate(make_scripted(), work)

    assert trace() == trace()


class ByTheShot(ScriptedProvider):
    """Predicts, and takes, a millisecond a shot."""

    def predict_s(self, job: Job) -> float:
        return job.shots * 1e-3


def by_the_shot(minimum: int, maximum: int) -> Callable[[], System]:
    return lambda: System(ByTheShot(LoopClock(), afterwards=Reply(0.01)), shots=ShotLimits(minimum, maximum))


def test_shots_fill_the_budget_up_to_the_devices_limit() -> None:
    filled = one(by_the_shot(64, 4096), budget_ms=200)
    assert isinstance(filled, Done)
    assert 190 <= filled.samples.shots <= 195
    capped = one(by_the_shot(64, 100), budget_ms=200)
    assert isinstance(capped, Done)
    assert capped.samples.shots == 100


def test_what_does_not_fit_is_said_before_it_is_submitted() -> None:
    async def work(system: System) -> tuple[Outcome, int]:
        return await system.orchestrator.solve(make_subproblem(budget_ms=50)), system.provider.submits

    outcome, submits = simulate(by_the_shot(64, 4096), work)
    assert isinstance(outcome, Degraded)
    assert isinstance(outcome.cause, Rejection)
    assert outcome.cause.limit == "shots_to_fit"
    assert submits == 0


@pytest.mark.parametrize(
    ("decision", "kind"),
    [
        (SubmitDecision.VETO, Degraded),
        (SubmitDecision.CALIBRATE, Done),
        (SubmitDecision.SUBMIT, Done),
    ],
)
@pytest.mark.parametrize("incumbent_energy", [-1e9, 1e9])
def test_a_pre_evaluation_that_promises_nothing_vetoes_the_submit(
    decision: SubmitDecision, kind: type[Outcome], incumbent_energy: float
) -> None:
    heard: list[int] = []

    async def foresee(subproblem: Subproblem, circuit: DeviceCircuit, shots: int) -> PreEvaluation:
        heard.append(shots)
        return PreEvaluation(decision, 0.0, incumbent_energy)

    async def work(system: System) -> tuple[Outcome, int, System]:
        return await system.orchestrator.solve(make_subproblem()), system.provider.submits, system

    outcome, submits, system = simulate(make_scripted(pre_evaluator=foresee), work)
    assert isinstance(outcome, kind)
    assert submits == (kind is Done)
    assert heard == [64]
    beats = None if kind is Degraded else incumbent_energy > 0
    assert outcome.provenance.pre_evaluation == PreEvaluation(decision, 0.0, incumbent_energy, beats)
    if kind is Degraded:
        assert system.value("shotclock_rejections_total", limit="expected_gain") == 1
