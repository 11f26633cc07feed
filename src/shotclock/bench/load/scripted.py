"""A dispatcher that is a queue with one server: a system whose tail is known, to test a ruler on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from shotclock.domain.circuit import CircuitSpec, Samples
from shotclock.domain.circuit_batch import CircuitBatch, Deliver
from shotclock.domain.outcome import (
    CircuitOutcome,
    Decision,
    Done,
    Executed,
    Outcome,
    Provenance,
    incumbent,
)
from shotclock.domain.subproblem import Subproblem
from shotclock.domain.subproblem_batch import DeliverOutcome, SubproblemBatch, solve_each

MADE_UP = Provenance("scripted queue", emulated=True, base_version=0)


def done(subproblem: Subproblem) -> Outcome:
    """Samples in time, all of them zeros."""
    bits = np.zeros(subproblem.n, np.uint8)
    samples = Samples(bits[None, :], np.array([64]))
    return Done(incumbent(subproblem), samples, None, MADE_UP)


@dataclass
class ScriptedQueue:
    """Implements Dispatcher on the running loop's time: first come, first served, by one server.

    service_s: of the k-th call, seconds.
    answers: what the k-th call ends in.
    budgets_ns: of the calls, as they came.
    batches: subproblems of each batch.
    """

    service_s: Callable[[int], float]
    answers: Callable[[int], Callable[[Subproblem], Outcome]] = lambda _: done
    budgets_ns: list[int] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    _free_at_s: float = 0.0

    async def solve(self, subproblem: Subproblem) -> Outcome:
        """See `Dispatcher.solve`; deadlines are not kept, so that tails stay whole."""
        number = await self._wait_served(subproblem.budget_ns)
        return self.answers(number)(subproblem)

    async def solve_batch(self, batch: SubproblemBatch, deliver: DeliverOutcome) -> None:
        """See `Dispatcher.solve_batch`; the server takes one after the other."""
        self.batches.append(len(batch.subproblems))
        await solve_each(self.solve, batch, deliver)

    async def execute(self, spec: CircuitSpec) -> CircuitOutcome:
        """See `Dispatcher.execute`; every shot is a 0 of one bit."""
        await self._wait_served(spec.budget_ns)
        return Executed(Samples(np.zeros((1, 1), np.uint8), np.array([spec.shots])), MADE_UP)

    async def execute_batch(self, batch: CircuitBatch, deliver: Deliver) -> None:
        """See `Dispatcher.execute_batch`; the server takes the batch as one call."""
        await self._wait_served(batch.budget_ns)
        shots = [circuit.shots for circuit in batch.circuits for _ in circuit.points]
        for index, number in enumerate(shots):
            deliver(index, Executed(Samples(np.zeros((1, 1), np.uint8), np.array([number])), MADE_UP))

    async def record_decision(
        self, request_id: str, decision: Decision, *, stale: bool = False, caller: str = ""
    ) -> None:
        """See `Dispatcher.record_decision`; nothing is kept."""

    async def _wait_served(self, budget_ns: int) -> int:
        """Waits for the server and is served; the number of the call."""
        loop = asyncio.get_running_loop()
        number = len(self.budgets_ns)
        self.budgets_ns.append(budget_ns)
        self._free_at_s = max(self._free_at_s, loop.time()) + self.service_s(number)
        await asyncio.sleep(self._free_at_s - loop.time())
        return number
