"""Inline waits in its iteration; overlap trains on and applies what arrives, re-scored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from harness import LoopClock
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.circuit_batch import CircuitBatch, Deliver
from shotclock.domain.iteration import FinishedCall
from shotclock.domain.outcome import CircuitOutcome, Decision, Done, Outcome
from shotclock.domain.ports import Dispatcher
from shotclock.domain.subproblem import Subproblem
from shotclock.domain.subproblem_batch import DeliverOutcome, SubproblemBatch
from shotclock.orchestrator.control import ClassicalDispatcher
from shotclock.runtime.virtual_loop import VirtualCaller, VirtualLoop
from shotclock.solvers.fallback import Classical
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder
from shotclock.training.aggregator import Aggregator
from shotclock.training.loops.digits_mlp import build
from shotclock.training.scheduler import CallPolicy, Scheduler, choose_mode


class SlowDispatcher:
    """The control dispatcher, so many seconds later."""

    def __init__(self, inner: Dispatcher, delay_s: float) -> None:
        self._inner = inner
        self._delay_s = delay_s

    async def solve(self, subproblem: Subproblem) -> Outcome:
        await asyncio.sleep(self._delay_s)
        return await self._inner.solve(subproblem)

    async def solve_batch(self, batch: SubproblemBatch, deliver: DeliverOutcome) -> None:
        raise NotImplementedError

    async def execute(self, spec: CircuitSpec) -> CircuitOutcome:
        raise NotImplementedError

    async def execute_batch(self, batch: CircuitBatch, deliver: Deliver) -> None:
        raise NotImplementedError

    async def record_decision(
        self, request_id: str, decision: Decision, *, stale: bool = False, caller: str = ""
    ) -> None:
        await self._inner.record_decision(request_id, decision, stale=stale, caller=caller)


def train(
    mode: str, delay_s: float, steps: int, step_s: float = 0.0, in_flight: int = 32
) -> tuple[Scheduler, list[int], Aggregator]:
    """Trains on virtual time in which an optimizer step takes step_s."""
    loop = VirtualLoop(base_ns=lambda: 0)
    workload = build(0)
    plain_step: Callable[[], float] = workload.step

    def slow_step() -> float:
        loop.advance(round(step_s * 1e9))
        return plain_step()

    workload.step = slow_step  # type: ignore[method-assign]
    kernel = workload.kernel("qat_flip", 8)
    recorder = PrometheusRecorder(Metrics(), "test")
    aggregator = Aggregator(workload, kernel, "revalidate")
    dispatcher = SlowDispatcher(ClassicalDispatcher(Classical(), LoopClock(), recorder), delay_s)
    policy = CallPolicy(5, "overlap" if mode == "overlap" else "inline", 200 * NS_PER_MS, in_flight=in_flight)
    caller = VirtualCaller(dispatcher, loop)
    scheduler = Scheduler(workload, aggregator, caller=caller, clock=loop, policy=policy)
    durations = [scheduler.iterate(step).duration_ns for step in range(steps)]
    scheduler.flush()
    loop.close()
    return scheduler, durations, aggregator


def decisions(calls: list[FinishedCall]) -> set[Decision]:
    return {call.applied.decision for call in calls}


def test_inline_waits_in_the_iteration_that_asked_and_is_never_stale() -> None:
    scheduler, durations, _ = train("inline", 0.05, 20)
    assert [call.step for call in scheduler.finished] == [0, 5, 10, 15]
    assert all((duration >= 50 * NS_PER_MS) == (step % 5 == 0) for step, duration in enumerate(durations))
    assert decisions(scheduler.finished) <= {Decision.APPLIED, Decision.REJECTED}
    assert all(call.blocked_ns == pytest.approx(50 * NS_PER_MS, abs=1000) for call in scheduler.finished)


def test_overlap_trains_on_and_scores_again_what_arrives() -> None:
    scheduler, durations, aggregator = train("overlap", 0.03, 40, step_s=0.01)
    assert all(duration == pytest.approx(10 * NS_PER_MS, abs=1000) for duration in durations)
    calls = scheduler.finished
    assert [call.step for call in calls] == list(range(0, 40, 5))
    assert all(call.blocked_ns < NS_PER_MS for call in calls)
    assert decisions(calls) <= {Decision.REVALIDATED, Decision.REJECTED}
    assert Decision.REVALIDATED in decisions(calls)
    applied = sum(call.applied.decision is Decision.REVALIDATED for call in calls)
    assert aggregator.version == 40 + applied


def test_every_due_call_is_asked_while_earlier_ones_are_in_flight_and_training_does_not_wait() -> None:
    scheduler, durations, _ = train("overlap", 0.12, 40, step_s=0.01)
    assert [call.step for call in scheduler.finished] == list(range(0, 40, 5))
    assert (scheduler.counts.due, scheduler.counts.asked, scheduler.counts.skipped) == (8, 8, 0)
    assert max(durations) < 11 * NS_PER_MS


def test_what_is_due_beyond_the_limit_in_flight_is_skipped_and_counted() -> None:
    scheduler, _, _ = train("overlap", 0.12, 40, step_s=0.01, in_flight=1)
    # an answer takes 12 steps, so two of three chances to ask pass
    assert [call.step for call in scheduler.finished] == [0, 15, 30]
    assert (scheduler.counts.due, scheduler.counts.asked, scheduler.counts.in_flight) == (8, 3, 5)
    assert str(scheduler.counts) == (
        "calls due 8: 3 asked, 5 skipped (5 because policy.in_flight calls were under way already)"
    )


def test_flush_waits_for_what_is_in_flight() -> None:
    scheduler, _, _ = train("overlap", 10.0, 3)
    assert len(scheduler.finished) == 1
    assert isinstance(scheduler.finished[0].outcome, Done)


@pytest.mark.parametrize(
    ("policy_mode", "p95_s", "mode"),
    [
        ("auto", 0.19, "inline"),
        ("auto", 0.21, "overlap"),
        ("inline", 9.0, "inline"),
        ("overlap", 0.0, "overlap"),
    ],
)
def test_auto_waits_only_where_the_p95_fits_the_budget(policy_mode: str, p95_s: float, mode: str) -> None:
    assert choose_mode(policy_mode, p95_s, 200.0) == mode  # type: ignore[arg-type]
