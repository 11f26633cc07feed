"""The production orchestrator over a provider that answers at once, and how its calls are timed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from _orchestrator_series import Rate
from shotclock.app.host import WallHost
from shotclock.app.quantum_path import FREE, PathPolicy, QuantumPath, assemble
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.outcome import Done, Outcome
from shotclock.domain.subproblem import Subproblem
from shotclock.orchestrator.answers import Fallback
from shotclock.orchestrator.ledger.job_journal import JobJournal
from shotclock.providers.scripted import UNLIMITED, Reply, ScriptedProvider, random_samples
from shotclock.settings import load
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder

N = 12
SHOTS = 256
BUDGET_NS = 200 * NS_PER_MS
INSTANCES = 256
QUEUE_LIMIT = 64
WIDTH = 8
"""Calls in flight where a rate is measured."""


def instances(count: int = INSTANCES, budget_ns: int = BUDGET_NS) -> list[Subproblem]:
    """Dense random subproblems of 12 variables, by default with the product's budget.

    They are asked over and over, and each call is to be a job of the provider.
    """
    rng = np.random.default_rng(N)
    subproblems = []
    for number in range(count):
        upper = np.triu(rng.normal(size=(N, N)), k=1)
        subproblems.append(
            Subproblem(
                upper + upper.T,
                rng.normal(size=N),
                request_id=f"request-{number}",
                budget_ns=budget_ns,
                fresh=True,
            )
        )
    return subproblems


@dataclass(frozen=True, slots=True)
class System:
    """What `shotclock serve` would run, with a scripted provider instead of a QPU."""

    host: WallHost
    path: QuantumPath
    provider: ScriptedProvider

    async def time_calls(self, subproblems: list[Subproblem]) -> tuple[list[int], list[Outcome]]:
        """One call after another, awaited on the orchestrator's own loop: SingleStream."""
        timed = await time_calls(self.path.orchestrator.solve, subproblems)
        self.provider.jobs.clear()  # the script's record of every job would grow without bound
        return timed


@contextmanager
def system(journal: JobJournal = FREE, queue_limit: int = QUEUE_LIMIT) -> Iterator[System]:
    """The orchestrator, started and warm, as `app` puts it together; every call is a separate job.

    queue_limit: calls that may wait.
    Admission, deadlines and the classical race are on, the answer holds 256 random shots. journal: of a
    provider that is paid.
    """
    host = WallHost()
    settings = load(None, {"orchestrator": {"queue_limit": queue_limit}})
    samples = random_samples(N, SHOTS, np.random.default_rng(0))
    limits = replace(UNLIMITED, paid=journal is not FREE)
    provider = ScriptedProvider(host.clock, afterwards=Reply(samples=(samples,)), limits=limits)
    quantum = settings.quantum.model_copy(update={"shots": SHOTS})
    policy = PathPolicy(protected=True, fallback=Fallback.RACE, batch_limit=1)
    recorder = PrometheusRecorder(Metrics(), "benchmark")
    path = assemble(host, settings, quantum, provider, policy, recorder, journal=journal)
    try:
        host.run(path.orchestrator.start(instances(1)[0]))
        yield System(host, path, provider)
        host.run(path.orchestrator.stop())
    finally:
        host.close()


async def time_calls(
    solve: Callable[[Subproblem], Awaitable[Outcome]], subproblems: list[Subproblem]
) -> tuple[list[int], list[Outcome]]:
    """Latencies of calls made one after another, nanoseconds, and how they ended."""
    latencies, outcomes = [], []
    for subproblem in subproblems:
        began_ns = time.perf_counter_ns()
        outcomes.append(await solve(subproblem))
        latencies.append(time.perf_counter_ns() - began_ns)
    return latencies, outcomes


async def in_flight(
    what: str, solve: Callable[[Subproblem], Awaitable[Outcome]], subproblems: list[Subproblem], calls: int
) -> Rate:
    """Eight at a time, the next as soon as one has ended: Offline."""
    numbers, without = iter(range(calls)), 0

    async def work() -> None:
        nonlocal without
        for number in numbers:
            without += not isinstance(await solve(subproblems[number % len(subproblems)]), Done)

    began_ns = time.perf_counter_ns()
    await asyncio.gather(*(work() for _ in range(WIDTH)))
    return Rate(what, calls, calls * 1e9 / (time.perf_counter_ns() - began_ns), without)
