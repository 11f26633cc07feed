"""Calls from the same process: on the loop, from another thread, during a training loop, and many calls."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from _orchestrator_series import BLOCKS, Rate, Series
from _orchestrator_system import System, in_flight, instances
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.circuit_batch import CircuitBatch, Deliver
from shotclock.domain.outcome import CircuitOutcome, Decision, Outcome
from shotclock.domain.ports import Caller, Dispatcher
from shotclock.domain.subproblem import Subproblem
from shotclock.domain.subproblem_batch import DeliverOutcome, SubproblemBatch
from shotclock.training.loops.digits_mlp import build

CALL_EVERY = 5
CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Sustained:
    """Many calls, eight in flight; growth_bytes: resident memory after them, above that after a warm-up."""

    rate: Rate
    cpu_us: float
    growth_bytes: int


@dataclass(frozen=True, slots=True)
class Beside:
    """Calls while the main thread trains: their latencies, and a step's median time without and with them."""

    calls: Series
    step_alone_ms: float
    step_beside_ms: float


def single_stream(system: System, calls: int) -> tuple[Series, Series]:
    """Awaited on the loop, and asked from another thread, blocks of the two in turn."""
    awaited = Series("in process, awaited on the loop")
    series = Series("in process, asked from another thread")
    subproblems = (instances() * (calls // len(instances()) + 1))[: calls // BLOCKS]
    caller = system.host.caller(system.path.orchestrator)
    system.host.run(system.time_calls(subproblems))
    for _ in range(BLOCKS):
        awaited.add(*system.host.run(system.time_calls(subproblems)))
        series.add(*_ask(caller, subproblems))
        system.provider.jobs.clear()
    return awaited, series


def _ask(caller: Caller, subproblems: list[Subproblem]) -> tuple[list[int], list[Outcome]]:
    latencies, outcomes = [], []
    for subproblem in subproblems:
        began_ns = time.perf_counter_ns()
        outcomes.append(caller.ask(subproblem).result())
        latencies.append(time.perf_counter_ns() - began_ns)
    return latencies, outcomes


class Noting:
    """A Dispatcher that records when each outcome arrived, on its loop's thread."""

    def __init__(self, inner: Dispatcher) -> None:
        self._inner = inner
        self.ended_ns = 0

    async def solve(self, subproblem: Subproblem) -> Outcome:
        """See `Dispatcher.solve`."""
        outcome = await self._inner.solve(subproblem)
        self.ended_ns = time.perf_counter_ns()
        return outcome

    async def solve_batch(self, batch: SubproblemBatch, deliver: DeliverOutcome) -> None:
        """See `Dispatcher.solve_batch`."""
        await self._inner.solve_batch(batch, deliver)

    async def execute(self, spec: CircuitSpec) -> CircuitOutcome:
        """See `Dispatcher.execute`."""
        return await self._inner.execute(spec)

    async def execute_batch(self, batch: CircuitBatch, deliver: Deliver) -> None:
        """See `Dispatcher.execute_batch`."""
        await self._inner.execute_batch(batch, deliver)

    async def record_decision(
        self, request_id: str, decision: Decision, *, stale: bool = False, caller: str = ""
    ) -> None:
        """See `Dispatcher.record_decision`."""
        await self._inner.record_decision(request_id, decision, stale=stale, caller=caller)


def beside_training(system: System, calls: int) -> Beside:
    """One call in flight at a time, made every fifth step at most; training never waits for it.

    A latency ends when the outcome arrives, not when the next step polls.
    """
    torch.set_num_threads(1)
    series = Series("in process, while a torch loop trains")
    workload, noting = build(0), Noting(system.path.orchestrator)
    caller, subproblems = system.host.caller(noting), instances()
    alone, beside = [], []
    for _ in range(BLOCKS):
        alone += [_step_ns(workload.step) for _ in range(calls // BLOCKS)]
        latencies, outcomes = [], []
        for number in range(calls // BLOCKS):
            began_ns = time.perf_counter_ns()
            pending = caller.ask(subproblems[number % len(subproblems)])
            steps = 0
            while steps < CALL_EVERY or not pending.done():
                beside.append(_step_ns(workload.step))
                steps += 1
            outcomes.append(pending.result())
            latencies.append(noting.ended_ns - began_ns)
        series.add(latencies, outcomes)
        system.provider.jobs.clear()
    return Beside(series, float(np.median(alone)) * 1e-6, float(np.median(beside)) * 1e-6)


def _step_ns(step: Callable[[], float]) -> int:
    began_ns = time.perf_counter_ns()
    step()
    return time.perf_counter_ns() - began_ns


def sustain(system: System, calls: int) -> Sustained:
    """Eight calls in flight; a fifth as many first, so that caches and windows are full."""
    _chunks(system, calls // 5)
    before_bytes, began_ns, cpu_ns = _resident_bytes(), time.perf_counter_ns(), time.process_time_ns()
    without = _chunks(system, calls)
    elapsed_ns, cpu_ns = time.perf_counter_ns() - began_ns, time.process_time_ns() - cpu_ns
    grown = _resident_bytes() - before_bytes
    rate = Rate(f"in process, {calls} calls", calls, calls * 1e9 / elapsed_ns, without)
    return Sustained(rate, cpu_ns / calls * 1e-3, grown)


def _chunks(system: System, calls: int) -> int:
    without, subproblems = 0, instances()
    for _ in range(0, calls, CHUNK):
        chunk = in_flight("a chunk", system.path.orchestrator.solve, subproblems, CHUNK)
        without += system.host.run(chunk).without_samples
        system.provider.jobs.clear()
    return without


def _resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
