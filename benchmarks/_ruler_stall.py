"""One stall of a second in a queue: an open load must show it in its p99, a closed one cannot."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from shotclock.bench.load.arrivals import ArrivalPlan, Scenario, instances
from shotclock.bench.load.generate import LoadGenerator
from shotclock.bench.load.judge import judge
from shotclock.bench.load.scripted import ScriptedQueue
from shotclock.bench.schema import Percentile
from shotclock.domain.budget import NS_PER_MS
from shotclock.runtime.virtual_loop import VirtualLoop

SERVICE_S, STALL_S = 0.005, 1.0
STALLED_CALL = 1_000
OPEN = ArrivalPlan(Scenario.SERVER, rate_per_s=100, duration_s=30, deadline_ns=200 * NS_PER_MS, n=4)
CLOSED = replace(OPEN, scenario=Scenario.SINGLE_STREAM)
SHOWS = 10.0
"""How many times its quiet p99 a load must report for the stall to be seen."""


@dataclass(frozen=True, slots=True)
class Stall:
    """p99 without and with the stall, milliseconds."""

    quiet_ms: float
    stalled_ms: float

    @property
    def visible(self) -> bool:
        """Whether nobody could overlook it."""
        return self.stalled_ms > SHOWS * self.quiet_ms


def measure(plan: ArrivalPlan) -> Stall:
    """The same load twice on virtual time, by the production generator."""
    return Stall(_p99_ms(plan, stalls=False), _p99_ms(plan, stalls=True))


def _p99_ms(plan: ArrivalPlan, *, stalls: bool) -> float:
    queue = ScriptedQueue(lambda number: STALL_S if stalls and number == STALLED_CALL else SERVICE_S)
    loop = VirtualLoop(base_ns=lambda: 0)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        calls = runner.run(LoadGenerator(plan, queue, loop, instances(4, 0, 8)).generate())
    percentile = judge(calls, plan, "any").latency.percentiles["p99"]
    if not isinstance(percentile, Percentile) or percentile.value is None:
        raise RuntimeError(f"{plan.scenario}: {len(calls)} calls give no p99")
    return percentile.value
