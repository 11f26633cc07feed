"""One caller cannot take the QPU from the others: turns, quotas, overload, on virtual time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness import random_subproblem
from loop_watch import TurnWatch
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.circuit import CircuitSpec, DeviceCircuit
from shotclock.domain.outcome import Done, Executed, Outcome, Rejection, Shed
from shotclock.domain.subproblem import Priority
from shotclock.orchestrator.answers import Fallback
from shotclock.orchestrator.quotas import CallerQuota
from shotclock.providers.scripted import UNLIMITED, Reply
from virtual_orchestrator import N, NullSynthesizer, System, make_scripted, simulate

SERVICE_S = 0.05
SHARE_PER_S = 2.0
"""Of each of four callers: together they keep the QPU busy for 40 % of the time."""
ONE_LANE = replace(UNLIMITED, lanes=1)
PROTECTED: dict[str, Any] = {
    "protected": True,
    "fallback": Fallback.NONE,
    "queue_limit": 64,
    "overload_wait_ms": 100.0,
}


async def ask(system: System, caller: str, budget_ms: float = 400, **words: Any) -> Outcome:
    subproblem = replace(
        random_subproblem(N, 0), caller=caller, budget_ns=round(budget_ms * NS_PER_MS), **words
    )
    return await system.orchestrator.solve(subproblem)


def arrivals(seed: int, rate_per_s: float, window_s: float) -> list[float]:
    """Poisson, fixed beforehand."""
    rng, at, instants = random.Random(seed), 0.0, []
    while (at := at + rng.expovariate(rate_per_s)) < window_s:
        instants.append(at)
    return instants


async def offer(
    system: System, caller: str, instants: list[float], **words: Any
) -> list[tuple[float, Outcome]]:
    """(latency from the scheduled instant, outcome) of each call."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def one(at: float) -> tuple[float, Outcome]:
        await asyncio.sleep(began + at - loop.time())
        outcome = await ask(system, caller, **words)
        return loop.time() - began - at, outcome

    return list(await asyncio.gather(*map(one, instants)))


def p99_of_others(heavy_per_s: float, window_s: float, **heavy_words: Any) -> tuple[float, float, float]:
    """The p99 of three callers at their share, their ratio done, and the heavy one's."""

    async def work(system: System) -> tuple[float, float, float]:
        *others, heavy = await asyncio.gather(
            *(offer(system, f"caller{seed}", arrivals(seed, SHARE_PER_S, window_s)) for seed in range(3)),
            offer(system, "heavy", arrivals(9, heavy_per_s, window_s), **heavy_words),
        )
        calls = [call for caller in others for call in caller]
        latencies = sorted(latency for latency, outcome in calls if isinstance(outcome, Done))
        heavy_done = sum(isinstance(outcome, Done) for _, outcome in heavy)
        p99 = latencies[round(0.99 * len(latencies)) - 1]
        return p99, len(latencies) / len(calls), heavy_done / len(heavy)

    return simulate(make_scripted(predicted_s=SERVICE_S, batch_limit=8, lines=8, **PROTECTED), work)


def test_ten_times_its_share_costs_the_others_at_most_a_fifth_of_their_p99() -> None:
    p99, done_share, _ = p99_of_others(SHARE_PER_S, 60.0)
    crowded_p99, crowded_done, _ = p99_of_others(10 * SHARE_PER_S, 60.0, priority=Priority.HIGH)
    assert crowded_p99 <= 1.2 * p99
    assert crowded_done >= 0.95 * done_share


def p99_beside_circuits(sends_circuits: bool) -> float:
    """The p99 of four callers at their share, beside a heavy one, on a QPU that runs one job at a time."""

    async def send_circuits(system: System) -> None:
        spec = CircuitSpec("x", 64, budget_ns=1_000 * NS_PER_MS, caller="circuits")
        ended = [await system.orchestrator.execute(spec) for _ in range(60)]
        assert sum(isinstance(outcome, Executed) for outcome in ended) >= 0.9 * len(ended)

    async def work(system: System) -> float:
        sending = asyncio.create_task(send_circuits(system)) if sends_circuits else None
        *others, _ = await asyncio.gather(
            *(
                offer(system, f"caller{seed}", arrivals(seed, SHARE_PER_S, 30.0), budget_ms=1_000)
                for seed in range(4)
            ),
            offer(system, "heavy", arrivals(9, 10 * SHARE_PER_S, 30.0), budget_ms=1_000),
        )
        if sending is not None:
            await sending
        calls = [call for caller in others for call in caller]
        assert all(isinstance(outcome, Done) for _, outcome in calls)
        return sorted(latency for latency, _ in calls)[round(0.99 * len(calls)) - 1]

    words = PROTECTED | {"batch_limit": 8, "lines": 8, "limits": ONE_LANE}
    return simulate(make_scripted(afterwards=Reply(0.12), predicted_s=0.125, **words), work)


def test_circuits_that_share_no_job_cost_the_others_at_most_a_fifth_of_their_p99() -> None:
    assert p99_beside_circuits(True) <= 1.2 * p99_beside_circuits(False)


def test_a_queue_that_has_become_late_is_refused_a_call_a_turn_of_the_loop() -> None:
    """Each plan takes milliseconds; 64 in one callback held every other caller's."""

    async def work(system: System) -> None:
        watch, planner = TurnWatch(), system.orchestrator._lanes._planner
        plan = planner.plan

        def plan_watched(*words: Any) -> Any:
            watch.note()
            return plan(*words)

        setattr(planner, "plan", plan_watched)  # noqa: B010 - mypy knows it as a method
        first = asyncio.create_task(ask(system, "heavy"))
        await asyncio.sleep(0.01)
        outcomes = await asyncio.gather(*(ask(system, f"caller{number % 4}") for number in range(40)))
        limits = Counter(outcome.rejection.limit for outcome in outcomes if isinstance(outcome, Shed))
        assert limits["shots_to_fit"] > 20
        assert watch.most == 1
        await first

    words = PROTECTED | {"batch_limit": 8, "lines": 8, "limits": ONE_LANE}
    simulate(make_scripted(afterwards=Reply(0.38), predicted_s=SERVICE_S, **words), work)


def test_a_caller_is_not_refused_for_a_wait_that_others_make() -> None:
    async def work(system: System) -> None:
        crowd = asyncio.gather(*(ask(system, "crowd", 9_000) for _ in range(12)))
        for _ in range(4):  # each waits for a job of the crowd: more than the limit
            assert isinstance(await ask(system, "patient", 9_000), Done)
        await crowd

    words = PROTECTED | {"overload_wait_ms": 10.0, "limits": ONE_LANE}
    simulate(make_scripted(batch_limit=1, **words), work)


def test_more_than_the_qpu_can_do_is_refused_to_the_heavy_caller_alone() -> None:
    _, done_share, heavy_done = p99_of_others(200 * SHARE_PER_S, 5.0, priority=Priority.HIGH)
    assert done_share >= 0.95
    assert heavy_done < 0.6


def test_calls_over_a_quota_are_refused_by_name_and_counted() -> None:
    async def work(system: System) -> None:
        ended = await asyncio.gather(*(ask(system, "many") for _ in range(5)), ask(system, "other"))
        limits = Counter(outcome.rejection.limit for outcome in ended if isinstance(outcome, Shed))
        assert limits == {"caller_quota": 2}
        assert isinstance(ended[-1], Done)
        assert system.value("shotclock_rejections_total", client="many", limit="caller_quota") == 2
        assert isinstance(await ask(system, "many"), Done)  # the others have ended

    simulate(make_scripted(batch_limit=8, quota=CallerQuota(calls=3), **PROTECTED), work)


def test_bytes_over_a_quota_are_refused_of_subproblems_and_circuits() -> None:
    size = 8 * N * (N + 1)
    spec = CircuitSpec("x" * (2 * size + 1), 64, budget_ns=400 * NS_PER_MS, caller="many")

    async def work(system: System) -> None:
        ended = await asyncio.gather(*(ask(system, "many") for _ in range(3)))
        (refused,) = (outcome.rejection for outcome in ended if isinstance(outcome, Shed))
        assert refused == Rejection("caller_quota", 2 * size, 3 * size, "bytes of this caller", 0.1)
        executed = await system.orchestrator.execute(spec)
        assert isinstance(executed, Shed)
        assert executed.rejection.limit == "caller_quota"

    simulate(make_scripted(batch_limit=8, quota=CallerQuota(size=2 * size), **PROTECTED), work)


def test_a_caller_over_its_quota_costs_no_classical_answer() -> None:
    async def work(system: System) -> None:
        ended = await asyncio.gather(*(ask(system, "many") for _ in range(2)))
        assert [type(outcome) for outcome in ended] == [Done, Shed]

    words = PROTECTED | {"fallback": Fallback.STANDBY}
    simulate(make_scripted(batch_limit=8, quota=CallerQuota(calls=1), **words), work)


def test_a_measuring_path_has_no_quota() -> None:
    async def work(system: System) -> None:
        ended = await asyncio.gather(*(ask(system, "many") for _ in range(3)))
        assert all(isinstance(outcome, Done) for outcome in ended)

    words = PROTECTED | {"protected": False}
    simulate(make_scripted(batch_limit=8, quota=CallerQuota(calls=1), **words), work)


class SlowCompiler(NullSynthesizer):
    """Compiles one circuit after the other, for a tenth of a second each."""

    def __init__(self) -> None:
        super().__init__()
        self._worker = asyncio.Lock()

    async def bind_circuit(self, source: str | bytes, values: Mapping[str, float]) -> DeviceCircuit:
        async with self._worker:
            await asyncio.sleep(0.1)
        return await super().bind_circuit(source, values)


def test_circuits_of_one_caller_do_not_wait_for_all_of_anothers_to_be_compiled() -> None:
    async def work(system: System) -> None:
        spec = CircuitSpec("x", 64, budget_ns=60_000 * NS_PER_MS, caller="many")
        many = [asyncio.create_task(system.orchestrator.execute(spec)) for _ in range(20)]
        await asyncio.sleep(0.01)
        assert isinstance(await system.orchestrator.execute(replace(spec, caller="one")), Executed)
        assert sum(task.done() for task in many) <= 3
        assert all(isinstance(outcome, Executed) for outcome in await asyncio.gather(*many))

    simulate(make_scripted(synthesizer=SlowCompiler(), **PROTECTED), work)
