"""Overlapped calls on the medium workload over the co-located profile: what training feels of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shotclock.app.host import WallHost
from shotclock.app.quantum_path import PathPolicy, assemble, build_provider
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.iteration import FinishedCall, Iteration
from shotclock.domain.outcome import Decision
from shotclock.emulator import profile as profiles
from shotclock.orchestrator.answers import Fallback
from shotclock.settings import load
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder
from shotclock.training.aggregator import Aggregator
from shotclock.training.audit import WRITES
from shotclock.training.loops import medium
from shotclock.training.scheduler import CallPolicy, PlainTrainer, Scheduler

N = 12


@dataclass(frozen=True, slots=True)
class Overlap:
    """A run of the medium workload with a call every few steps, beside one without calls.

    stall_ratio: the training thread's time on calls ÷ the iteration's, over the steps that carry work of
    a call (asking or landing). carrying_ratio: such a step's duration ÷ that of the plain run's step at the
    same place of its block, where the caches are as cold, median less 1: the same thing from outside, with
    whatever the QPU's process takes beside it.
    """

    iteration_ms: float
    stall_ratio: float
    carrying_ratio: float
    calls: int
    answered_ms: float
    decided: dict[str, int]

    @property
    def applied(self) -> int:
        """Calls whose delta was written."""
        return sum(count for name, count in self.decided.items() if name in WRITES)


def measure(steps: int, every: int) -> Overlap:
    """Plain and calling steps in turn, in blocks of `every`, so that both meet the same machine."""
    host = WallHost()
    try:
        settings = load(None, {})
        quantum = settings.quantum
        provider = build_provider(host, settings, quantum, profiles.load("colocated"))
        recorder = PrometheusRecorder(Metrics(), "benchmark")
        path = assemble(host, settings, quantum, provider, PathPolicy(True, Fallback.RACE, 1), recorder)
        workload = medium.build(0)
        kernel = workload.kernel("rounding", N)
        host.run(path.orchestrator.start(kernel.propose(0, 0).subproblem))
        aggregator = Aggregator(workload, kernel, "revalidate", loss_check=False)
        policy = CallPolicy(every, "overlap", round(quantum.wait_limit_ms * NS_PER_MS))
        calling = Scheduler(
            workload,
            aggregator,
            caller=host.caller(path.orchestrator),
            clock=host.clock,
            policy=policy,
        )
        plain = PlainTrainer(medium.build(0), host.clock)
        with_calls: list[Iteration] = []
        without: list[Iteration] = []
        for block in range(0, steps, every):
            with_calls.extend(calling.iterate(step) for step in range(block, block + every))
            without.extend(plain.iterate(step) for step in range(block, block + every))
        calling.flush()
        host.run(path.orchestrator.stop())
        return _judge(with_calls, without, calling.finished)
    finally:
        host.close()


def _judge(with_calls: list[Iteration], without: list[Iteration], calls: list[FinishedCall]) -> Overlap:
    blocked = dict.fromkeys((iteration.step for iteration in with_calls), 0)
    for call in calls:
        landing = call.applying
        for iteration in with_calls:
            if (
                iteration.boundary_ns
                <= call.proposed.start_ns
                < iteration.boundary_ns + iteration.duration_ns
            ):
                blocked[iteration.step] += call.blocked_ns - landing.duration_ns
            if iteration.boundary_ns <= landing.start_ns < iteration.boundary_ns + iteration.duration_ns:
                blocked[iteration.step] += landing.duration_ns
    carrying = [iteration for iteration in with_calls if blocked[iteration.step]]
    plain_ms = float(np.median([iteration.duration_ns for iteration in without])) * 1e-6
    beside = {iteration.step: iteration.duration_ns for iteration in without}
    spent = sum(blocked[iteration.step] for iteration in carrying)
    decided = {str(decision): 0 for decision in Decision}
    for call in calls:
        decided[call.applied.decision] += 1
    return Overlap(
        iteration_ms=plain_ms,
        stall_ratio=spent / sum(iteration.duration_ns for iteration in carrying),
        carrying_ratio=float(
            np.median([iteration.duration_ns / beside[iteration.step] for iteration in carrying])
        )
        - 1.0,
        calls=len(calls),
        answered_ms=float(
            np.median([call.outcome.provenance.samples_at_ns - call.boundary_ns for call in calls])
        )
        * 1e-6,
        decided={name: count for name, count in decided.items() if count},
    )
