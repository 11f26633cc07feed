"""Draining, resuming, stopping: every accepted call ends, no other is touched, nothing waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ParamSpec, TypeVar

from harness import LoopClock, random_subproblem
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.circuit import CircuitSpec, DeviceCircuit
from shotclock.domain.outcome import CircuitOutcome, Degraded, Done, Outcome, Rejection, Shed
from shotclock.domain.status import Drained, Phase
from shotclock.orchestrator.answers import Fallback
from shotclock.providers.scripted import Never, Reply, ScriptedProvider
from virtual_orchestrator import NullSynthesizer, System, make_scripted, make_subproblem, simulate

P = ParamSpec("P")
T = TypeVar("T")


async def solve_together(system: System, count: int, budget_ms: float) -> list[Outcome]:
    return await asyncio.gather(
        *(system.orchestrator.solve(make_subproblem(seed, budget_ms)) for seed in range(count))
    )


def test_a_drain_finishes_what_was_accepted_and_refuses_what_comes() -> None:
    async def work(system: System) -> tuple[Outcome, Outcome, tuple[int, int], Phase, Outcome]:
        accepted = asyncio.create_task(system.orchestrator.solve(make_subproblem(0)))
        await asyncio.sleep(0.01)
        draining = asyncio.create_task(system.orchestrator.drain(NS_PER_S))
        await asyncio.sleep(0.01)
        refused = await system.orchestrator.solve(make_subproblem(1))
        drained = await draining
        phase = system.orchestrator.status().phase
        system.orchestrator.resume()
        counts = (drained.finished, drained.handed_back)
        return await accepted, refused, counts, phase, await system.orchestrator.solve(make_subproblem(2))

    accepted, refused, counts, phase, after = simulate(make_scripted(fallback=Fallback.NONE), work)
    assert isinstance(accepted, Done)
    assert isinstance(refused, Shed)
    assert refused.rejection.limit == "drain"
    assert counts == (1, 0)
    assert phase is Phase.DRAINED
    assert isinstance(after, Done)


def test_a_drain_hands_back_what_it_cannot_finish() -> None:
    async def work(system: System) -> tuple[list[Outcome], tuple[int, int], int]:
        calls = asyncio.create_task(solve_together(system, 3, budget_ms=60_000))
        await asyncio.sleep(0.01)
        drained = await system.orchestrator.drain(NS_PER_S)
        return await calls, (drained.finished, drained.handed_back), system.provider.cancels

    outcomes, counts, cancels = simulate(make_scripted(afterwards=Never()), work)
    assert all(isinstance(outcome, Degraded) and isinstance(outcome.cause, Rejection) for outcome in outcomes)
    assert counts == (0, 3)
    assert cancels == 3


def test_a_drain_that_is_taken_back_touches_no_call_that_came_after_it() -> None:
    async def work(system: System) -> tuple[Drained, list[Outcome], Phase]:
        before = asyncio.create_task(system.orchestrator.solve(make_subproblem(0, 60_000)))
        await asyncio.sleep(0.01)
        draining = asyncio.create_task(system.orchestrator.drain(NS_PER_S))
        await asyncio.sleep(0.01)
        system.orchestrator.resume()
        after = asyncio.create_task(system.orchestrator.solve(make_subproblem(1, 60_000)))
        drained = await draining
        phase = system.orchestrator.phase
        return drained, [await before, await after], phase

    drained, (before, after), phase = simulate(make_scripted(Never(), afterwards=Reply(3.0)), work)
    assert drained == Drained(0, 1)
    assert isinstance(before, Degraded)
    assert isinstance(after, Done)
    assert phase is Phase.READY


class SlowOffload:
    """An Offload that takes a fifth of a second."""

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        await asyncio.sleep(0.2)
        return work(*args, **kwargs)


def test_a_drain_returns_when_the_outcome_is_there_and_not_when_its_cause_is() -> None:
    async def work(system: System) -> bool:
        wide = replace(random_subproblem(17, 0), budget_ns=60 * NS_PER_S)
        call = asyncio.create_task(system.orchestrator.solve(wide))
        await asyncio.sleep(0.01)
        await system.orchestrator.drain(NS_PER_S)
        return call.done()

    assert simulate(make_scripted(afterwards=Never(), fallback=Fallback.STANDBY, offload=SlowOffload()), work)


class SlowCompiler(NullSynthesizer):
    """Takes half a second for a circuit of the caller's own."""

    async def bind_circuit(self, source: str | bytes, values: Mapping[str, float]) -> DeviceCircuit:
        await asyncio.sleep(0.5)
        return await super().bind_circuit(source, values)


def test_a_circuit_that_was_compiling_when_the_drain_came_is_not_submitted_after_it() -> None:
    def make() -> System:
        return System(ScriptedProvider(LoopClock()), synthesizer=SlowCompiler())

    async def work(system: System) -> tuple[CircuitOutcome, int]:
        spec = CircuitSpec("OPENQASM 3.0;", 64, budget_ns=5 * NS_PER_S)
        call = asyncio.create_task(system.orchestrator.execute(spec))
        await asyncio.sleep(0.1)
        await system.orchestrator.drain(NS_PER_S)
        return await call, system.provider.submits

    outcome, submits = simulate(make, work)
    assert isinstance(outcome, Shed)
    assert outcome.rejection.limit == "drain"
    assert submits == 0


def test_who_drains_before_it_is_ready_is_obeyed_until_it_resumes() -> None:
    async def work(system: System) -> list[Phase]:
        fresh = System(system.provider).orchestrator
        phases = []
        await fresh.drain(NS_PER_S)
        phases.append(fresh.phase)
        await fresh.start(make_subproblem())
        phases.append(fresh.phase)
        fresh.resume()
        phases.append(fresh.phase)
        await fresh.stop()
        return phases

    assert simulate(make_scripted(), work) == [Phase.DRAINED, Phase.DRAINED, Phase.READY]


def test_a_resume_before_it_is_ready_lets_nothing_in() -> None:
    async def work(system: System) -> list[Phase]:
        fresh = System(system.provider).orchestrator
        await fresh.drain(NS_PER_S)
        fresh.resume()
        phases = [fresh.phase]
        await fresh.start(make_subproblem())
        phases.append(fresh.phase)
        await fresh.stop()
        fresh.resume()
        phases.append(fresh.phase)
        return phases

    assert simulate(make_scripted(), work) == [Phase.STARTING, Phase.READY, Phase.STARTING]


def test_a_stop_ends_every_call_at_once() -> None:
    async def work(system: System) -> tuple[list[Outcome], float]:
        calls = asyncio.create_task(solve_together(system, 8, 60_000))
        await asyncio.sleep(0.01)
        await system.orchestrator.stop()
        return await calls, asyncio.get_running_loop().time()

    outcomes, ended_s = simulate(make_scripted(afterwards=Never(), queue_limit=8), work)
    causes = [outcome.cause for outcome in outcomes if isinstance(outcome, Degraded)]
    assert [cause.limit for cause in causes if isinstance(cause, Rejection)] == ["drain"] * 8
    assert ended_s < 60
