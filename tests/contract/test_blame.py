"""Who is blamed: the breaker for the provider's faults alone, this host's own felt by their callers alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import pytest

from harness import LoopClock
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.circuit import CircuitSpec, DeviceCircuit
from shotclock.domain.errors import CircuitError, WorkerError, WorkerFault
from shotclock.domain.outcome import (
    COMPILE_CAPACITY,
    MAX_QUBITS,
    Degraded,
    Done,
    Executed,
    Late,
    Rejection,
    Shed,
)
from shotclock.domain.ports import Accepted, Execution, Job
from shotclock.domain.status import BreakerState
from shotclock.domain.subproblem import Subproblem
from shotclock.providers.scripted import Never, Reply, ScriptedProvider
from virtual_orchestrator import N, NullSynthesizer, System, make_scripted, make_subproblem, simulate

P = ParamSpec("P")
T = TypeVar("T")
JOBS = 12


def circuit(budget_ms: float = 200) -> CircuitSpec:
    return CircuitSpec("OPENQASM 3;", shots=64, budget_ns=round(budget_ms * NS_PER_MS))


def state(system: System) -> BreakerState:
    return system.orchestrator.status().breaker


class Losing(ScriptedProvider):
    """Loses its jobs to a fault of this host, except every `keeps_every`-th."""

    def __init__(self, keeps_every: int, fault: WorkerFault) -> None:
        super().__init__(LoopClock(), afterwards=Reply(0.01), predicted_s=0.01)
        self._keeps_every = keeps_every
        self._fault = fault

    async def collect(self, accepted: Accepted) -> Execution:
        execution = await super().collect(accepted)
        if self.submits % self._keeps_every:
            raise WorkerError(self._fault, "lost", 0, 1, "worker processes lost")
        return execution


def losing(keeps_every: int, fault: WorkerFault = WorkerFault.DIED, **words: Any) -> Callable[[], System]:
    return lambda: System(Losing(keeps_every, fault), **words)


def test_jobs_lost_with_their_workers_run_again_and_leave_the_breaker_closed() -> None:
    async def work(system: System) -> list[type]:
        kinds = [type(await system.orchestrator.solve(make_subproblem(seed))) for seed in range(JOBS)]
        assert state(system) is BreakerState.CLOSED
        return kinds

    # two losses a call, which is run a third time
    assert simulate(losing(3), work) == [Done] * JOBS


def test_a_call_that_lost_every_attempt_is_refused_for_capacity() -> None:
    async def work(system: System) -> None:
        for seed in range(JOBS):
            outcome = await system.orchestrator.solve(make_subproblem(seed))
            assert isinstance(outcome, Degraded)
            assert isinstance(outcome.cause, Rejection)
            assert outcome.cause.limit == COMPILE_CAPACITY
        assert state(system) is BreakerState.CLOSED
        assert system.value("shotclock_rejections_total", limit=COMPILE_CAPACITY) == JOBS

    simulate(losing(10**6), work)


@pytest.mark.parametrize("fault", list(WorkerFault))
def test_a_user_circuit_that_ends_its_worker_is_run_once(fault: WorkerFault) -> None:
    async def work(system: System) -> None:
        for number in range(JOBS):
            outcome = await system.orchestrator.execute(circuit())
            assert isinstance(outcome, Shed)
            assert outcome.rejection.limit == COMPILE_CAPACITY
            assert system.provider.submits == number + 1
        assert state(system) is BreakerState.CLOSED

    simulate(losing(10**6, fault), work)


def test_user_circuits_that_emulate_past_their_deadlines_leave_the_breaker_closed() -> None:
    async def work(system: System) -> None:
        for _ in range(JOBS):
            assert isinstance(await system.orchestrator.execute(circuit()), Late)
        assert state(system) is BreakerState.CLOSED

    simulate(make_scripted(afterwards=Never()), work)


def test_a_provider_that_keeps_subproblems_past_their_deadlines_is_blamed() -> None:
    async def work(system: System) -> None:
        for seed in range(JOBS):
            await system.orchestrator.solve(make_subproblem(seed))
        assert state(system) is BreakerState.OPEN

    simulate(make_scripted(afterwards=Never()), work)


def test_slow_user_circuits_teach_nothing_of_other_jobs() -> None:
    async def work(system: System) -> float:
        for _ in range(30):  # more than slowness is learned from
            assert isinstance(await system.orchestrator.execute(circuit(10_000)), Executed)
        return system.orchestrator.status().service_p95_s

    assert simulate(make_scripted(afterwards=Reply(5.0), predicted_s=0.05), work) == pytest.approx(0.05)


def test_user_circuits_leave_a_lane_to_subproblems() -> None:
    async def work(system: System) -> None:
        slow = [asyncio.create_task(system.orchestrator.execute(circuit(60_000))) for _ in range(4)]
        await asyncio.sleep(1.0)
        lanes = system.orchestrator.status().lanes_limit
        assert system.orchestrator.status().running == min(4, lanes - 1)
        assert isinstance(await system.orchestrator.solve(make_subproblem(1, 1_000)), Late | Degraded | Done)
        assert system.provider.jobs_of_subproblems == 1  # type: ignore[attr-defined]
        await asyncio.gather(*slow)

    simulate(lambda: System(_Lanes(), queue_limit=64), work)


class _Lanes(ScriptedProvider):
    """Three lanes; user circuits take thirty seconds, subproblems a moment."""

    def __init__(self) -> None:
        super().__init__(LoopClock(), afterwards=Reply(30.0), predicted_s=0.05)
        self.jobs_of_subproblems = 0

    async def submit(self, job: Job) -> Accepted:
        self.jobs_of_subproblems += any(circuit.template.key == "key" for circuit in job.circuits)
        return await super().submit(job)


class Failing(NullSynthesizer):
    """A Synthesizer whose worker cannot do it."""

    def __init__(self, fault: WorkerFault) -> None:
        super().__init__()
        self.error = WorkerError(
            fault, "compiling the circuit needs more than 64 MiB of memory", 64, 64, "MiB"
        )
        self.is_on = False

    async def bind(self, subproblem: Subproblem, line: tuple[int, ...] = ()) -> DeviceCircuit:
        if self.is_on:
            raise self.error
        return await super().bind(subproblem, line)

    async def bind_circuit(self, source: str | bytes, values: Mapping[str, float]) -> DeviceCircuit:
        raise self.error


@pytest.mark.parametrize("fault", list(WorkerFault))
def test_a_template_that_cannot_be_compiled_is_a_matter_of_capacity(fault: WorkerFault) -> None:
    synthesizer = Failing(fault)

    async def work(system: System) -> None:
        synthesizer.is_on = True
        for seed in range(JOBS):
            outcome = await system.orchestrator.solve(make_subproblem(seed))
            assert isinstance(outcome, Degraded)
            assert isinstance(outcome.cause, Rejection)
            assert outcome.cause.limit == COMPILE_CAPACITY
        assert state(system) is BreakerState.CLOSED

    simulate(make_scripted(synthesizer=synthesizer), work)


@pytest.mark.parametrize("fault", [each for each in WorkerFault if each is not WorkerFault.MEMORY])
def test_a_circuit_that_cannot_be_compiled_is_a_matter_of_capacity(fault: WorkerFault) -> None:
    async def work(system: System) -> None:
        outcome = await system.orchestrator.execute(circuit())
        assert isinstance(outcome, Shed)
        assert outcome.rejection.limit == COMPILE_CAPACITY

    simulate(make_scripted(synthesizer=Failing(fault)), work)


def test_a_circuit_that_needs_too_much_memory_is_its_callers_mistake() -> None:
    async def work(system: System) -> None:
        with pytest.raises(CircuitError, match="64 MiB of memory; ask for a smaller circuit"):
            await system.orchestrator.execute(circuit())

    simulate(make_scripted(synthesizer=Failing(WorkerFault.MEMORY)), work)


def test_a_subproblem_wider_than_the_provider_is_refused_before_it_is_compiled() -> None:
    synthesizer = Failing(WorkerFault.TIME)

    async def work(system: System) -> None:
        synthesizer.is_on = True
        wide = make_subproblem()
        system.provider.limits = _narrow(system)
        outcome = await system.orchestrator.solve(wide)
        assert isinstance(outcome, Degraded)
        assert isinstance(outcome.cause, Rejection)
        assert (outcome.cause.limit, outcome.cause.allowed, outcome.cause.present) == (MAX_QUBITS, N - 1, N)

    simulate(make_scripted(synthesizer=synthesizer), work)


def _narrow(system: System) -> Any:
    from dataclasses import replace

    return replace(system.provider.limits, max_qubits=N - 1)
