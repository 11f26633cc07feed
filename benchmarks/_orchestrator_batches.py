"""Batches of 64 subproblems a request over gRPC, in turns with the same calls in process."""

from __future__ import annotations

import asyncio
import time

from _orchestrator_series import BLOCKS, Rate
from _orchestrator_system import in_flight, instances, system
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.outcome import Done, Outcome
from shotclock.domain.ports import Dispatcher
from shotclock.domain.subproblem_batch import MOST_SUBPROBLEMS, SubproblemBatch

REQUESTS = 2
"""In flight, so that the service has work while a client encodes and decodes."""
MOST_IN_BATCHES = REQUESTS * MOST_SUBPROBLEMS
"""The service's queue takes as many; its default is one batch."""
BUDGET_NS = 10 * NS_PER_S
"""A queue of a hundred calls is predicted to take longer than the budget of one."""


async def measure_batches(dispatcher: Dispatcher, calls: int) -> tuple[Rate, Rate]:
    """Blocks of both in turn, so many calls each together; the second rate is in process, eight in flight."""
    subproblems = instances(budget_ns=BUDGET_NS)
    of_block = calls // BLOCKS // MOST_SUBPROBLEMS * MOST_SUBPROBLEMS or MOST_SUBPROBLEMS
    batches = [
        SubproblemBatch(tuple(subproblems[first : first + MOST_SUBPROBLEMS]))
        for first in range(0, len(subproblems), MOST_SUBPROBLEMS)
    ]
    over_wire: list[Rate] = []
    inside: list[Rate] = []
    with system() as running:
        for block in range(BLOCKS + 1):
            alone = in_flight("in process", running.path.orchestrator.solve, subproblems, of_block)
            rates = await _send(dispatcher, batches, of_block), running.host.run(alone)
            running.provider.jobs.clear()
            if block:  # the first fills caches and windows
                over_wire.append(rates[0])
                inside.append(rates[1])
    what = f"gRPC with mTLS, {MOST_SUBPROBLEMS} subproblems a request, {REQUESTS} requests"
    return _join(what, over_wire), _join("in process, in turns with those", inside)


async def _send(dispatcher: Dispatcher, batches: list[SubproblemBatch], calls: int) -> Rate:
    numbers, without = iter(range(calls // MOST_SUBPROBLEMS)), 0

    def note(index: int, outcome: Outcome) -> None:
        del index
        nonlocal without
        without += not isinstance(outcome, Done)

    async def work() -> None:
        for number in numbers:
            await dispatcher.solve_batch(batches[number % len(batches)], note)

    began_ns = time.perf_counter_ns()
    await asyncio.gather(*(work() for _ in range(REQUESTS)))
    return Rate("", calls, calls * 1e9 / (time.perf_counter_ns() - began_ns), without)


def _join(what: str, blocks: list[Rate]) -> Rate:
    """One rate of several blocks: all calls over all of the time."""
    calls = sum(rate.calls for rate in blocks)
    seconds = sum(rate.calls / rate.per_s for rate in blocks)
    return Rate(what, calls, calls / seconds, sum(rate.without_samples for rate in blocks))
