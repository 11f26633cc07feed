"""What the orchestrator adds to the Dispatcher contract: sharing jobs, health, records, draining.

On virtual time: the production code with a scripted provider, to the nanosecond.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from harness import Inline, LoopClock, random_subproblem
from shotclock.circuits.decoding import _lowest
from shotclock.domain.budget import NS_PER_MS, NS_PER_S
from shotclock.domain.circuit import CircuitSpec, Samples
from shotclock.domain.errors import CircuitError, FaultKind, ProviderError
from shotclock.domain.outcome import (
    HOST_HEALTH,
    Degraded,
    Done,
    Executed,
    Failed,
    Late,
    Outcome,
    ProviderFault,
    Rejection,
    Shed,
    Winner,
)
from shotclock.domain.ports import Job, P, T
from shotclock.domain.stages import Stage
from shotclock.domain.status import BreakerState
from shotclock.domain.subproblem import Priority
from shotclock.orchestrator.answers import SOLVED_IN_PLACE, Fallback
from shotclock.orchestrator.planning import ShotLimits
from shotclock.providers.scripted import UNLIMITED, Fail, Never, Reply, ScriptedProvider
from virtual_orchestrator import N, System, make_scripted, make_subproblem, one, simulate

ONE_LANE = replace(UNLIMITED, lanes=1)
BUSY = Fail(ProviderError(FaultKind.TRANSIENT, "busy"))
LOST = Fail(ProviderError(FaultKind.AMBIGUOUS, "the line went dead"))


async def solve_together(system: System, count: int, budget_ms: float = 1_000) -> list[Outcome]:
    return await asyncio.gather(
        *(system.orchestrator.solve(make_subproblem(seed, budget_ms)) for seed in range(count))
    )


# Sharing jobs


def test_calls_of_several_callers_share_a_job_and_each_gets_its_own_samples() -> None:
    def pool(state: int) -> Samples:
        bits = ((state >> np.arange(N)) & 1).astype(np.uint8)
        return Samples(bits[None, :], np.array([64]))

    async def work(system: System) -> tuple[list[Outcome], list[Job]]:
        return await solve_together(system, 3), system.provider.jobs

    reply = Reply(0.05, tuple(pool(state) for state in (1, 2, 4)))
    outcomes, jobs = simulate(make_scripted(reply, batch_limit=4), work)
    (job,) = jobs
    (pub,) = job.pubs
    lines = [circuit.template.line for circuit in pub.circuits]
    assert len({qubit for line in lines for qubit in line}) == 3 * N
    for outcome, state in zip(outcomes, (1, 2, 4), strict=True):
        assert isinstance(outcome, Done)
        assert outcome.provenance.sharers == 3
        assert outcome.samples.pool[0] @ (1 << np.arange(N)) == state


def test_a_job_carries_no_more_than_its_limit() -> None:
    async def work(system: System) -> list[int]:
        await solve_together(system, 4)
        return [len(job.circuits) for job in system.provider.jobs]

    assert simulate(make_scripted(batch_limit=3), work) == [3, 1]


def test_more_calls_than_lines_become_further_pubs_of_the_same_job() -> None:
    class NarrowDevice(System):
        """Two lines, four calls a job."""

    async def work(system: System) -> list[list[int]]:
        await solve_together(system, 4)
        return [[len(pub.circuits) for pub in job.pubs] for job in system.provider.jobs]

    assert simulate(make_scripted(batch_limit=4, lines=2), work) == [[2, 2]]


def test_a_young_batch_waits_for_more_and_an_old_one_goes() -> None:
    async def work(system: System) -> tuple[list[int], int]:
        async def later(seed: int, after_s: float) -> Outcome:
            await asyncio.sleep(after_s)
            return await system.orchestrator.solve(make_subproblem(seed, 1_000))

        outcomes = await asyncio.gather(later(0, 0.0), later(1, 0.004), later(2, 0.02))
        waited = outcomes[0].provenance.stages[0]
        assert waited.stage is Stage.ADMISSION_WAIT
        return [len(job.circuits) for job in system.provider.jobs], waited.duration_ns

    sizes, waited_ns = simulate(make_scripted(batch_limit=4, batch_age_ms=10), work)
    assert sizes == [2, 1]
    assert waited_ns == pytest.approx(10 * NS_PER_MS, rel=1e-6)


def test_calls_gather_while_the_qpu_is_busy_though_lanes_are_free() -> None:
    async def work(system: System) -> list[int]:
        async def later(seed: int) -> Outcome:
            await asyncio.sleep(0.006 * seed)
            return await system.orchestrator.solve(make_subproblem(seed, 1_000))

        await asyncio.gather(*map(later, range(6)))
        return [len(job.circuits) for job in system.provider.jobs]

    assert simulate(make_scripted(batch_limit=8, queue_limit=16), work) == [1, 5]


def test_a_batch_leaves_early_for_its_earliest_deadline() -> None:
    async def work(system: System) -> Outcome:
        return await system.orchestrator.solve(make_subproblem(budget_ms=70))

    outcome = simulate(make_scripted(batch_limit=4, batch_age_ms=60), work)
    assert isinstance(outcome, Done)
    assert outcome.provenance.stages[0].duration_ns == pytest.approx(15 * NS_PER_MS, abs=NS_PER_MS)


def test_one_caller_leaving_takes_nothing_from_those_it_shares_the_job_with() -> None:
    async def work(system: System) -> tuple[Outcome, Outcome, int]:
        long = asyncio.create_task(system.orchestrator.solve(make_subproblem(0, 500)))
        short = asyncio.create_task(system.orchestrator.solve(make_subproblem(1, 60)))
        return await long, await short, system.provider.cancels

    long, short, cancels = simulate(make_scripted(batch_limit=4, afterwards=Reply(0.3)), work)
    assert isinstance(long, Done)
    assert isinstance(short, Degraded)
    assert cancels == 0


def test_the_last_caller_leaving_cancels_the_shared_job() -> None:
    async def work(system: System) -> tuple[list[Outcome], int]:
        outcomes = await solve_together(system, 3, budget_ms=80)
        await asyncio.sleep(0.001)
        return outcomes, system.provider.cancels

    outcomes, cancels = simulate(make_scripted(batch_limit=4, afterwards=Never()), work)
    assert all(isinstance(outcome, Degraded) for outcome in outcomes)
    assert cancels == 1


def test_a_faulty_sample_ends_its_own_call_alone() -> None:
    good = Samples(np.zeros((1, N), np.uint8), np.array([64]))
    few = Samples(np.zeros((1, N), np.uint8), np.array([63]))

    async def work(system: System) -> list[Outcome]:
        return await solve_together(system, 2)

    first, second = simulate(make_scripted(Reply(0.05, (good, few)), batch_limit=4), work)
    assert isinstance(first, Done)
    assert isinstance(second, Degraded)
    assert isinstance(second.cause, ProviderFault)


# Who goes first


def test_a_full_queue_gives_up_a_low_priority_for_a_high_one() -> None:
    async def work(system: System) -> list[Outcome]:
        low = replace(make_subproblem(0, 5_000), priority=Priority.LOW)
        high = replace(make_subproblem(2, 5_000), priority=Priority.HIGH)
        return await asyncio.gather(*map(system.orchestrator.solve, (low, make_subproblem(1, 5_000), high)))

    low, normal, high = simulate(make_scripted(queue_limit=2, fallback=Fallback.NONE), work)
    assert isinstance(low, Shed)
    assert low.rejection.limit == "queue_limit"
    assert isinstance(normal, Done)
    assert isinstance(high, Done)


def test_a_crowded_queue_refuses_low_priorities_first() -> None:
    def build_crowded() -> System:
        provider = ScriptedProvider(LoopClock(), afterwards=Reply(0.05), limits=ONE_LANE, predicted_s=0.05)
        return System(provider, protected=True, queue_limit=64, overload_wait_ms=40, fallback=Fallback.NONE)

    async def work(system: System) -> tuple[Outcome, Outcome]:
        crowd = asyncio.create_task(solve_together(system, 6, budget_ms=9_000))
        await asyncio.sleep(0.12)
        low = replace(make_subproblem(10, 9_000), priority=Priority.LOW)
        high = replace(make_subproblem(11, 9_000), priority=Priority.HIGH)
        both = await asyncio.gather(system.orchestrator.solve(low), system.orchestrator.solve(high))
        await crowd
        return both[0], both[1]

    low, high = simulate(build_crowded, work)
    assert isinstance(low, Shed)
    assert low.rejection.limit == "queue_wait"
    assert isinstance(high, Done)


def test_jobs_that_take_less_than_predicted_add_up_to_no_wait() -> None:
    async def work(system: System) -> Outcome:
        first, longer = (
            asyncio.create_task(system.orchestrator.solve(make_subproblem(n, 60_000))) for n in (0, 1)
        )
        await first
        outcome = await system.orchestrator.solve(make_subproblem(2, 25_000))
        await longer
        return outcome

    steps = (Reply(0.05), Reply(5.0), Reply(0.05))
    # one job of 10 s is ahead, not two: 10 s and the call's own 10 s fit 25 s
    assert isinstance(simulate(make_scripted(*steps, predicted_s=10.0, protected=True), work), Done)


# Health


def outage(fallback: Fallback = Fallback.RACE) -> Callable[[], System]:
    return make_scripted(*[BUSY] * 30, protected=True, fallback=fallback, predicted_s=0.05)


def test_a_dead_provider_is_left_alone_probed_once_and_trusted_again() -> None:
    async def work(system: System) -> tuple[list[Outcome], BreakerState, int, int, Outcome]:
        outcomes = [await system.orchestrator.solve(make_subproblem(seed)) for seed in range(12)]
        open_now = system.orchestrator.status().breaker
        before = system.provider.submits
        await asyncio.sleep(31)
        return (
            outcomes,
            open_now,
            before,
            system.provider.pings,
            await system.orchestrator.solve(make_subproblem(99)),
        )

    outcomes, open_now, submits, pings, after = simulate(outage(), work)
    assert all(isinstance(outcome, Degraded) for outcome in outcomes)
    assert open_now is BreakerState.OPEN
    causes = [outcome.cause for outcome in outcomes if isinstance(outcome, Degraded)]
    assert isinstance(causes[-1], Rejection)
    assert causes[-1].limit == "breaker"
    assert 0 < causes[-1].retry_after_s <= 30
    assert submits < 12 * 3
    assert pings == 1
    assert not isinstance(after, Degraded) or after.cause != causes[-1]


def test_a_failing_probe_keeps_the_breaker_open() -> None:
    async def work(system: System) -> tuple[BreakerState, int]:
        system.provider.ping_error = ProviderError(FaultKind.TRANSIENT, "maintenance")
        for seed in range(12):
            await system.orchestrator.solve(make_subproblem(seed))
        await asyncio.sleep(31)
        return system.orchestrator.status().breaker, system.provider.submits

    state, submits = simulate(outage(), work)
    assert state is BreakerState.OPEN
    assert submits < 12 * 3


def test_attempts_stay_within_the_retry_budget() -> None:
    async def work(system: System) -> int:
        for seed in range(40):
            await system.orchestrator.solve(make_subproblem(seed, 10_000))
        return system.provider.submits

    submits = simulate(make_scripted(afterwards=BUSY, queue_limit=64), work)
    assert submits <= 1.1 * 40 + 10


# Fallback, cache, circuits


def test_a_classical_answer_that_waits_its_turn_too_long_costs_no_deadline() -> None:
    class QueuedProvider(Inline):
        """Seconds of other calls' work lie before it."""

        async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
            await asyncio.sleep(3.0)
            return await super().run(work, *args, **kwargs)

    async def work(system: System) -> tuple[Outcome, float]:
        large = replace(random_subproblem(SOLVED_IN_PLACE + 1, 1), budget_ns=200 * NS_PER_MS)
        return await system.orchestrator.solve(large), asyncio.get_running_loop().time()

    outcome, ended_s = simulate(make_scripted(Reply(0.05), offload=QueuedProvider()), work)
    assert isinstance(outcome, Degraded)
    assert outcome.answer.winner is Winner.INCUMBENT
    assert ended_s <= 0.2


def test_a_standby_answer_comes_in_time_and_is_exercised_on_live_traffic() -> None:
    async def work(system: System) -> list[Outcome]:
        return [await system.orchestrator.solve(make_subproblem(seed)) for seed in range(400)]

    outcomes = simulate(make_scripted(fallback=Fallback.STANDBY), work)
    exercised = sum(isinstance(outcome, Done) and outcome.classical is not None for outcome in outcomes)
    assert 1 <= exercised <= 12


def test_an_equal_call_is_answered_from_the_samples_of_the_first() -> None:
    async def work(system: System) -> tuple[Outcome, Outcome, int]:
        first = await system.orchestrator.solve(make_subproblem(1))
        compiled, imported = _lowest.signatures, set(sys.modules)
        again = await system.orchestrator.solve(replace(make_subproblem(1), request_id="other"))
        # so that a first hit takes less time than a miss, it compiles and imports nothing
        assert _lowest.signatures == compiled
        assert set(sys.modules) == imported
        assert system.value("hybrid_call_success_ratio") == 0.5  # the QPU was asked for one of the two
        return first, again, system.provider.submits

    first, again, submits = simulate(make_scripted(results=8), work)
    assert isinstance(first, Done)
    assert isinstance(again, Done)
    assert submits == 1
    assert again.provenance.cached
    assert not first.provenance.cached
    assert again.answer.energy == first.answer.energy


def test_a_call_for_new_samples_gets_them_and_leaves_the_cache_alone() -> None:
    async def work(system: System) -> tuple[list[bool], int]:
        cached = []
        for fresh in (False, True, True, False):
            outcome = await system.orchestrator.solve(replace(make_subproblem(1), fresh=fresh))
            cached.append(outcome.provenance.cached)
        return cached, system.provider.submits

    assert simulate(make_scripted(results=8), work) == ([False, False, False, True], 3)


def test_a_shorter_rep_delay_is_taken_where_nothing_else_fits_and_said() -> None:
    class ByTheDelay(ScriptedProvider):
        """A shot takes its rep_delay."""

        def predict_s(self, job: Job) -> float:
            return job.shots * (
                self.limits.rep_delay_default_s if job.rep_delay_s is None else job.rep_delay_s
            )

    def system() -> System:
        limits = replace(UNLIMITED, rep_delay_default_s=250e-6)
        provider = ByTheDelay(LoopClock(), afterwards=Reply(0.01), limits=limits)
        return System(
            provider, protected=True, shots=ShotLimits(1000, 1000), shorter_rep_delays_s=(100e-6, 50e-6)
        )

    roomy, tight = one(system, budget_ms=400), one(system, budget_ms=130)
    assert isinstance(roomy, Done)
    assert not roomy.provenance.penalised
    assert isinstance(tight, Done)
    assert tight.provenance.penalised
    hopeless = one(system, budget_ms=30)
    assert isinstance(hopeless, Degraded)
    assert isinstance(hopeless.cause, Rejection)


def test_a_circuit_of_the_callers_own_is_executed() -> None:
    async def work(system: System) -> object:
        return await system.orchestrator.execute(CircuitSpec("OPENQASM 3.0;", 64, budget_ns=NS_PER_S))

    outcome = simulate(make_scripted(), work)
    assert isinstance(outcome, Executed)
    assert outcome.samples.pool.shape[1] == 2
    assert outcome.samples.shots == 64


def test_a_circuit_that_cannot_run_is_the_callers_to_mend_and_one_that_does_not_come_is_late() -> None:
    async def work(system: System) -> object:
        with pytest.raises(CircuitError, match="source"):
            await system.orchestrator.execute(CircuitSpec("nonsense", 64, budget_ns=NS_PER_S))
        return await system.orchestrator.execute(CircuitSpec("OPENQASM 3.0;", 64, budget_ns=NS_PER_S // 10))

    assert isinstance(simulate(make_scripted(afterwards=Never()), work), Late)


def test_a_circuit_that_cannot_finish_in_time_is_never_submitted() -> None:
    class ByTheShot(ScriptedProvider):
        """A shot takes a millisecond."""

        def predict_s(self, job: Job) -> float:
            return job.shots * 1e-3

    def system() -> System:
        return System(ByTheShot(LoopClock(), afterwards=Reply(10)), protected=True)

    async def work(system: System) -> tuple[object, int]:
        spec = CircuitSpec("OPENQASM 3.0;", 10_000, budget_ns=NS_PER_S)
        return await system.orchestrator.execute(spec), system.provider.submits

    outcome, submits = simulate(system, work)
    assert isinstance(outcome, Shed)
    assert outcome.rejection.limit == "shots_to_fit"
    assert submits == 0


def test_calls_with_user_circuits_are_counted_as_any_call() -> None:
    async def work(system: System) -> tuple[float, float, float]:
        await system.orchestrator.execute(CircuitSpec("OPENQASM 3.0;", 64, budget_ns=NS_PER_S))
        await system.orchestrator.execute(CircuitSpec("OPENQASM 3.0;", 64, budget_ns=NS_PER_S // 100))
        return (
            system.value("shotclock_calls_total", outcome="executed"),
            system.value("shotclock_calls_total", outcome="late"),
            system.value("shotclock_calls_in_time_total", answer="samples"),
        )

    assert simulate(make_scripted(), work) == (1, 1, 1)


def test_a_host_that_refuses_answers_classically_and_submits_nothing() -> None:
    refused = Rejection(HOST_HEALTH, 0, 1, "problem of the host", 15.0)

    async def work(system: System) -> tuple[Outcome, int]:
        return await system.orchestrator.solve(make_subproblem()), system.provider.submits

    outcome, submits = simulate(make_scripted(protected=True, refuse_by_host=lambda: refused), work)
    assert isinstance(outcome, Degraded)
    assert (outcome.cause, outcome.answer.winner, submits) == (refused, Winner.CLASSICAL, 0)


def test_a_fault_without_a_fallback_fails() -> None:
    assert isinstance(one(make_scripted(LOST, fallback=Fallback.NONE), budget_ms=5_000), Failed)
