"""Load tests on virtual time: the scripted queue, its unhappy answers, and the production generator."""

from __future__ import annotations

import numpy as np

from harness import LoopClock, run_virtual
from shotclock.bench.load.arrivals import ArrivalPlan, instances
from shotclock.bench.load.generate import LoadGenerator
from shotclock.bench.load.records import CallRecord
from shotclock.bench.load.scripted import MADE_UP, ScriptedQueue, done
from shotclock.domain.outcome import Answer, DeadlinePassed, Degraded, Late, Outcome, Rejection, Shed, Winner
from shotclock.domain.subproblem import Subproblem

__all__ = ["MS", "Queue", "degrade", "done", "late", "run_load", "shed"]

MS = 1_000_000
Queue = ScriptedQueue


def degrade(subproblem: Subproblem) -> Outcome:
    answer = Answer(np.zeros(subproblem.n, np.uint8), 0.0, Winner.CLASSICAL, "exact")
    return Degraded(answer, Rejection("queue_limit", 1, 2, "calls", 0.1), MADE_UP)


def shed(subproblem: Subproblem) -> Outcome:
    return Shed(Rejection("queue_limit", 1, 2, "calls", 0.1), MADE_UP)


def late(subproblem: Subproblem) -> Outcome:
    return Late(DeadlinePassed(subproblem.budget_ns), MADE_UP)


def run_load(plan: ArrivalPlan, queue: Queue) -> list[CallRecord]:
    """The plan's calls on virtual time, by the production generator."""

    async def main() -> list[CallRecord]:
        load = LoadGenerator(plan, queue, LoopClock(), instances(4, 0, 8))
        return await load.generate()

    return run_virtual(main())
