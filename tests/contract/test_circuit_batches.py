"""Batches of circuits: few jobs, one outcome a point, nobody fails for another's circuit."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.circuit_batch import MOST_POINTS, CircuitBatch, CircuitPoints
from shotclock.domain.errors import CircuitError, FaultKind, ProviderError
from shotclock.domain.outcome import CircuitOutcome, Executed, Failed, Late, Shed
from shotclock.domain.subproblem import Float64s
from shotclock.orchestrator.ledger.memory import MemoryLedger
from shotclock.orchestrator.quotas import CallerQuota
from shotclock.providers.scripted import UNLIMITED, Fail, Never, Reply
from virtual_orchestrator import System, make_scripted, simulate


def make_batch(
    *points: int, shots: int = 64, caller: str = "", source: str = "x", budget_ms: float = 1_000
) -> CircuitBatch:
    circuits = tuple(CircuitPoints(source, shots, ("a",), np.zeros((n, 1))) for n in points)
    return CircuitBatch(circuits, "b", round(budget_ms * NS_PER_MS), caller=caller)


async def ask(system: System, batch: CircuitBatch) -> list[CircuitOutcome]:
    outcomes: dict[int, CircuitOutcome] = {}

    def take(index: int, outcome: CircuitOutcome) -> None:
        assert index not in outcomes
        outcomes[index] = outcome

    await system.orchestrator.execute_batch(batch, take)
    return [outcomes[index] for index in range(batch.points)]


TEN = replace(UNLIMITED, max_pubs=10)
NO_SUCH_GATE = ProviderError(FaultKind.PERMANENT, "no such gate")


def test_points_share_jobs_up_to_the_devices_limit_and_each_has_one_outcome() -> None:
    async def work(system: System) -> tuple[list[CircuitOutcome], list[int]]:
        outcomes = await ask(system, make_batch(7, 18))
        return outcomes, [len(job.circuits) for job in system.provider.jobs]

    outcomes, sizes = simulate(make_scripted(limits=TEN), work)
    assert sorted(sizes) == [5, 10, 10]
    assert all(isinstance(outcome, Executed) and outcome.samples.shots == 64 for outcome in outcomes)


def test_circuits_of_different_shots_are_in_different_jobs() -> None:
    async def work(system: System) -> list[int]:
        few, many = make_batch(3, shots=64).circuits[0], make_batch(2, shots=128).circuits[0]
        outcomes = await ask(system, CircuitBatch((few, many), "b", 1_000 * NS_PER_MS))
        assert len(system.provider.jobs) == 2
        return [outcome.provenance.shots for outcome in outcomes]

    assert simulate(make_scripted(), work) == [64, 64, 64, 128, 128]


def test_batches_of_several_callers_share_a_job_and_its_time_by_circuits() -> None:
    async def work(system: System) -> None:
        first = asyncio.create_task(ask(system, make_batch(1)))
        await asyncio.sleep(0.01)  # while its job runs, the others wait
        others = [asyncio.create_task(ask(system, make_batch(n, caller=f"c{n}"))) for n in (2, 3, 4)]
        for n, outcomes in zip((2, 3, 4), await asyncio.gather(*others), strict=True):
            assert len(outcomes) == n
            assert all(outcome.provenance.sharers == 3 for outcome in outcomes)
        await first
        assert [len(job.circuits) for job in system.provider.jobs] == [1, 9]

    simulate(make_scripted(limits=replace(UNLIMITED, lanes=1), batch_limit=8), work)


def test_a_circuit_that_fails_a_shared_job_fails_no_other_caller() -> None:
    async def work(system: System) -> None:
        first = asyncio.create_task(ask(system, make_batch(1)))
        await asyncio.sleep(0.01)
        bad = asyncio.create_task(ask(system, make_batch(1, caller="bad")))
        good = asyncio.create_task(ask(system, make_batch(2, caller="good")))
        assert all(isinstance(outcome, Failed) for outcome in await bad)
        assert all(isinstance(outcome, Executed) for outcome in await good)
        await first

    script = (Reply(0.05), Fail(NO_SUCH_GATE), Fail(NO_SUCH_GATE))
    simulate(make_scripted(*script, limits=replace(UNLIMITED, lanes=1), batch_limit=8), work)


def test_a_paid_job_that_failed_is_never_run_again() -> None:
    async def work(system: System) -> None:
        first = asyncio.create_task(ask(system, make_batch(1)))
        await asyncio.sleep(0.01)
        both = [asyncio.create_task(ask(system, make_batch(1, caller=name))) for name in ("a", "b")]
        for outcomes in await asyncio.gather(*both):
            assert isinstance(outcomes[0], Failed)
        await first
        assert system.provider.submits == 2

    script = (Reply(0.05), Fail(NO_SUCH_GATE))
    limits = replace(UNLIMITED, lanes=1, paid=True)
    simulate(make_scripted(*script, limits=limits, batch_limit=8, ledger=MemoryLedger(lambda: 0.0)), work)


def test_a_batch_past_its_deadline_is_late_at_every_point_and_its_job_is_cancelled() -> None:
    async def work(system: System) -> None:
        outcomes = await ask(system, make_batch(3))
        assert [type(outcome) for outcome in outcomes] == [Late] * 3
        assert system.provider.cancels == 1

    simulate(make_scripted(Never()), work)


def test_one_circuit_that_cannot_run_stops_the_batch_before_any_job() -> None:
    async def work(system: System) -> None:
        good, bad = make_batch(1).circuits[0], make_batch(1, source="nonsense").circuits[0]
        with pytest.raises(CircuitError, match=r"batch\[1\]\.source"):
            await ask(system, CircuitBatch((good, bad), budget_ns=NS_PER_MS))
        assert not system.provider.jobs

    simulate(make_scripted(), work)


def test_a_caller_over_its_quota_is_refused_at_every_point() -> None:
    async def work(system: System) -> None:
        outcomes = await ask(system, make_batch(2))
        assert [type(outcome) for outcome in outcomes] == [Shed] * 2

    simulate(make_scripted(protected=True, quota=CallerQuota(size=8)), work)


def test_a_provider_of_one_circuit_a_job_takes_a_batch_larger_than_the_queue() -> None:
    batch = make_batch(40, budget_ms=60_000)

    async def work(system: System) -> None:
        assert all(isinstance(outcome, Executed) for outcome in await ask(system, batch))

    simulate(make_scripted(limits=replace(UNLIMITED, max_pubs=1), queue_limit=8, batch_limit=8), work)


def test_a_batch_of_many_jobs_waits_for_itself_as_long_as_its_deadline_allows() -> None:
    batch = make_batch(20, budget_ms=60_000)

    async def work(system: System) -> None:
        assert all(isinstance(outcome, Executed) for outcome in await ask(system, batch))

    limits = replace(UNLIMITED, lanes=1, max_pubs=1)
    words = {"queue_limit": 16, "batch_limit": 8, "protected": True, "overload_wait_ms": 100.0}
    simulate(make_scripted(limits=limits, afterwards=Reply(0.5), predicted_s=0.5, **words), work)


@pytest.mark.parametrize(
    ("points", "names", "message"),
    [
        (np.zeros((0, 1)), ("a",), "points"),
        (np.zeros((1, 2)), ("a",), "points"),
        (np.zeros((1, 2)), ("a", "a"), "names"),
        (np.array([[np.nan]]), ("a",), r"values\.a"),
    ],
)
def test_points_that_do_not_fit_their_circuit_are_refused_by_name(
    points: Float64s, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(CircuitError, match=message):
        CircuitPoints("x", 1, names, points)


def test_a_batch_states_its_limits() -> None:
    with pytest.raises(CircuitError, match=r"batch\.points: must be at most 16,384 \(got 16,385\)"):
        make_batch(MOST_POINTS + 1)
    with pytest.raises(CircuitError, match=r"batch\.circuits: must be at most 256"):
        make_batch(*[1] * 257)
    with pytest.raises(CircuitError, match=r"batch\.bytes"):
        make_batch(1, source="x" * 5_000_000)
