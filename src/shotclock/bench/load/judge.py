"""Computes a run's figures from its calls, and checks whether the run is valid."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from shotclock.bench.load.arrivals import ArrivalPlan, schedule
from shotclock.bench.load.records import CLASSES, Basis, CallRecord
from shotclock.bench.load.schema import TOO_FEW, LoadRun, Quantile, Tail
from shotclock.bench.load.stability import stable, windows
from shotclock.bench.numbers import round_percent
from shotclock.bench.schema import Result
from shotclock.bench.stats import overrun
from shotclock.bench.stats.statistics import Sample, gate_quantile, percentile, ratio
from shotclock.domain.budget import NS_PER_MS, NS_PER_S
from shotclock.domain.circuit import find_worst
from shotclock.domain.plural import count, verb

TAIL: dict[Quantile, float] = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
LAG_FLOOR_MS = 1.0
"""An issue lag of this p99 is always allowed, however short the latencies are."""
LAG_SHARE = 0.10
"""The allowed p99 of the issue lag, as a share of the gated percentile."""
ACHIEVED_AT_LEAST = 0.99
"""The share of its offered calls that an open load must issue."""


def judge(calls: Sequence[CallRecord], plan: ArrivalPlan, basis: Basis) -> LoadRun:
    """The figures of one run. A closed loop offers what it achieves."""
    gated = sample(calls, basis)
    name, quantile = quantile_name(plan.quantile), plan.quantile
    lasted_s = _measure_length_s(calls, plan)
    offered, achieved = _rates(calls, plan)
    lag = Sample.of([call.issue_lag_ns for call in calls])
    in_windows = windows(calls, plan, basis)
    faults = (*_overrun(calls, plan.quantile), *_faults(plan, gated, lag, offered, achieved, len(calls)))
    deadline_ms = plan.deadline_ns / NS_PER_MS
    result, why = gate_quantile(gated, quantile, deadline_ms)
    if silent := _silent(calls, plan):
        each = verb(silent, "which", "each of which")
        why = f"{why}; nobody answered {count(silent, 'query')}, {each} took its whole deadline"
    if faults:
        result, why = Result.INCONCLUSIVE, f"invalid: {faults[0]}"
    hits = [call for call in calls if call.is_answered and call.latency_ns <= plan.deadline_ns]
    with_samples = [call for call in hits if call.answered_by == "qpu"]
    return LoadRun(
        seed=plan.seed,
        rate_per_s=plan.rate_per_s,
        duration_s=plan.duration_s,
        offered_per_s=offered,
        achieved_per_s=achieved,
        completed_per_s=len(calls) / lasted_s,
        calls=len(calls),
        latency=tail(sample(calls, "any")),
        quantum_latency=tail(sample(calls, "quantum")),
        software=tail(
            Sample.of(
                [max(0, call.latency_ns - call.emulated_ns) for call in calls if call.is_answered],
                sum(not call.is_answered for call in calls),
            )
        ),
        issue_lag=tail(lag),
        by_class={
            kind: tail(Sample.of([call.latency_ns for call in calls if call.answered_by == kind]))
            for kind in CLASSES
        },
        shares={kind: ratio(sum(call.answered_by == kind for call in calls), len(calls)) for kind in CLASSES},
        deadline_hit_ratio=ratio(len(hits), len(calls)),
        quantum_share=ratio(len(with_samples), len(calls)),
        goodput_per_s=len(hits) / lasted_s,
        quantum_goodput_per_s=len(with_samples) / lasted_s,
        causes=dict(Counter(call.cause for call in calls if call.cause).most_common()),
        qpu_s=sum(call.qpu_s for call in calls),
        emulator_overruns=sum(call.emulator_overrun for call in calls),
        simulation=str(find_worst(call.simulation for call in calls)),
        windows=in_windows,
        stable=stable(in_windows),
        faults=faults,
        gated=name,
        result=result,
        why=why,
    )


def sample(calls: Sequence[CallRecord], basis: Basis) -> Sample:
    """Latencies from the scheduled instant; what the basis does not count as answered is missed."""
    counted = [call for call in calls if call.concerns(basis)]
    back = [call.latency_ns for call in counted if call.counts(basis)]
    return Sample.of(back, len(counted) - len(back))


def tail(sample: Sample) -> Tail:
    """Its percentiles with bounds, or too few samples."""
    return Tail(
        n=sample.n,
        missed=sample.missed,
        mean=sample.mean_ms(),
        percentiles={name: percentile(sample, quantile) or TOO_FEW for name, quantile in TAIL.items()},  # type: ignore[misc]
    )


def quantile_name(quantile: float) -> Quantile:
    """As `TAIL` calls it."""
    return next(name for name, value in TAIL.items() if value == quantile)


def _measure_length_s(calls: Sequence[CallRecord], plan: ArrivalPlan) -> float:
    """Open: the schedule's length, which a late end does not stretch; else until the last call ended."""
    ended_ns = max((call.completed_ns for call in calls), default=0)
    return (plan.duration_ns if plan.open_loop else max(ended_ns, 1)) / NS_PER_S


def _rates(calls: Sequence[CallRecord], plan: ArrivalPlan) -> tuple[float, float]:
    """Calls a second offered and issued; of an open load, over its schedule or until its last call."""
    if not plan.open_loop:
        rate = len(calls) / _measure_length_s(calls, plan)
        return rate, rate
    last_ns = max((call.issued_ns for call in calls), default=0)
    issuing_s = max(plan.duration_ns, last_ns) / NS_PER_S
    return len(schedule(plan)) / plan.duration_s, len(calls) / issuing_s


def _silent(calls: Sequence[CallRecord], plan: ArrivalPlan) -> int:
    """Queries of a stream without an answer, which the stream waits out (`generate`)."""
    if plan.is_counted:
        return 0
    return len({call.query for call in calls} - {call.query for call in calls if call.is_answered})


def _faults(
    plan: ArrivalPlan, gated: Sample, lag: Sample, offered: float, achieved: float, calls: int
) -> list[str]:
    """The rules of validity: issue lag and achieved rate of an open load."""
    if not calls:
        due = not plan.is_counted or len(schedule(plan))
        return ["no call ended" if due else "no call was due: lengthen --duration or raise --rate"]
    if not plan.open_loop:
        return []
    faults = []
    lag_ms = _rank_ms(lag, 0.99) or 0.0
    # a percentile among the misses is longer than any lag: the floor alone would be too strict
    gated_ms = _rank_ms(gated, plan.quantile) or plan.deadline_ns / NS_PER_MS
    allowed_ms = max(LAG_FLOOR_MS, LAG_SHARE * gated_ms)
    if lag_ms > allowed_ms:
        faults.append(
            f"the load was late itself: issue lag p99 {lag_ms:.3g} ms, {allowed_ms:.3g} ms allowed; "
            "give the generator a dedicated core or lower the rate"
        )
    if achieved < ACHIEVED_AT_LEAST * offered:
        faults.append(
            f"asked {achieved:.4g} calls/s of {offered:.4g} offered, under {round_percent(ACHIEVED_AT_LEAST)}"
        )
    return faults


def _overrun(calls: Sequence[CallRecord], quantile: float) -> list[str]:
    overruns = sum(call.emulator_overrun for call in calls)
    answered = sum(call.answered_by == "qpu" for call in calls)
    if not overrun.is_invalid(overruns, answered, quantile):
        return []
    return [overrun.describe(overruns, len(calls))]


def _rank_ms(sample: Sample, quantile: float) -> float | None:
    """The empirical quantile; None where it is a miss."""
    return sample.rank_ms(max(1, math.ceil(quantile * sample.n)))
