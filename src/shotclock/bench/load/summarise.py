"""From the runs of a load test to load.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shotclock.bench.load.arrivals import ArrivalPlan
from shotclock.bench.load.judge import sample
from shotclock.bench.load.records import Basis, CallRecord
from shotclock.bench.load.schema import Circuit, Knee, LoadCost, LoadRun, LoadSummary, RunInterval
from shotclock.bench.schema import Percentile, Result
from shotclock.bench.stats.bootstrap import over_runs
from shotclock.domain.budget import NS_PER_MS

OFFICIAL_RUNS = 5


@dataclass(frozen=True, slots=True)
class QpuPrice:
    """Of a second of the QPU, by the site's contract."""

    currency: str
    qpu_second: float


@dataclass(frozen=True, slots=True)
class LoadFacts:
    """A load test's facts apart from its calls.

    shotclock: version.
    started_at: ISO 8601.
    run_id: unique.
    interrupted: whether Ctrl-C ended it.
    target: what was loaded: an address, or a dedicated orchestrator.
    provider: the provider's name.
    emulated: whether the provider is emulated.
    clock: wall or virtual.
    environment: the machine.
    basis: which calls count as answered.
    knee: what a sweep found; None without a sweep.
    circuit: None where subproblems were asked.
    price: None to omit the cost.
    """

    shotclock: str
    started_at: str
    run_id: str
    interrupted: bool
    target: str
    provider: str
    emulated: bool
    clock: Literal["wall", "virtual"]
    environment: Mapping[str, str]
    basis: Basis
    knee: Knee | None
    circuit: Circuit | None = None
    price: QpuPrice | None = None


def summarise(
    runs: Sequence[LoadRun], calls: Sequence[CallRecord], plan: ArrivalPlan, facts: LoadFacts
) -> LoadSummary:
    """The whole summary."""
    one_rate = facts.knee is None and not facts.interrupted
    quoted = _choose_quoted_run(runs, facts)
    return LoadSummary(
        shotclock=facts.shotclock,
        run_id=facts.run_id,
        status="interrupted" if facts.interrupted else "complete",
        scenario=plan.scenario,
        basis=facts.basis,
        deadline_ms=plan.deadline_ns / NS_PER_MS,
        rate_per_s=plan.rate_per_s,
        duration_s=plan.duration_s,
        n=plan.n,
        target=facts.target,
        provider=facts.provider,
        clock=facts.clock,
        emulated=facts.emulated or any(call.emulated for call in calls),
        started_at=facts.started_at,
        environment=dict(facts.environment),
        runs=tuple(runs),
        quoted=quoted,
        official=one_rate and len(runs) >= OFFICIAL_RUNS and not any(run.faults for run in runs),
        interval=_interval(calls, len(runs), plan, facts.basis) if one_rate else None,
        knee=facts.knee,
        circuit=facts.circuit,
        batch=plan.batch,
        cost=None if facts.price is None else cost(runs, calls, quoted, facts.price),
    )


def cost(
    runs: Sequence[LoadRun], calls: Sequence[CallRecord], quoted: int, price: QpuPrice
) -> LoadCost | None:
    """See `schema.LoadCost`; None if no call had a QPU or reports its QPU time."""
    qpu_s = sum(run.qpu_s for run in runs)
    if qpu_s == 0:
        return None
    run = runs[quoted]
    hits = (run.quantum_share.value or 0.0) * run.quantum_share.n
    return LoadCost(
        currency=price.currency,
        qpu_second=price.qpu_second,
        qpu_s=qpu_s,
        money=qpu_s * price.qpu_second,
        money_per_hit=run.qpu_s * price.qpu_second / hits if hits else None,
        untold=sum(call.attempts > 0 and call.qpu_s == 0 for call in calls),
    )


def _choose_quoted_run(runs: Sequence[LoadRun], facts: LoadFacts) -> int:
    """The last run at the knee, or the worst."""
    met = facts.knee.met_per_s if facts.knee is not None else None
    if met is not None:
        return max(index for index, run in enumerate(runs) if run.rate_per_s == met)
    return max(range(len(runs)), key=lambda index: _badness(runs[index], facts.basis), default=0)


def _badness(run: LoadRun, basis: Basis) -> tuple[bool, bool, float]:
    """Invalid before failed before slow."""
    tail = run.quantum_latency if basis == "quantum" else run.latency
    percentile_gated = tail.percentiles[run.gated]
    slow = (
        percentile_gated.value
        if isinstance(percentile_gated, Percentile) and percentile_gated.value is not None
        else math.inf
    )
    return bool(run.faults), run.result is not Result.PASS, slow


def _interval(calls: Sequence[CallRecord], runs: int, plan: ArrivalPlan, basis: Basis) -> RunInterval | None:
    """Of the gated percentile, ms; None with fewer than two runs, or where it is a miss."""
    samples = [sample([call for call in calls if call.run == number], basis) for number in range(runs)]
    missed = np.iinfo(np.int64).max
    values = [
        np.concatenate([sample.values_ns, np.full(sample.missed, missed, dtype=np.int64)])
        for sample in samples
    ]

    def quantile_ms(together: NDArray[np.int64]) -> float:
        rank = math.ceil(plan.quantile * len(together)) - 1
        return float(np.partition(together, rank)[rank]) / NS_PER_MS

    estimate = over_runs(values, quantile_ms)
    if estimate is None or estimate.high >= missed / NS_PER_MS:
        return None
    return RunInterval(
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        confidence=estimate.confidence,
        runs=estimate.runs,
    )
