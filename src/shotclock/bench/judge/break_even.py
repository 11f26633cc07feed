"""The round trip and price at which a quantum call costs no more than the classical answer it replaces.

A call that blocks the training for R seconds and uses the QPU for u seconds costs g R + p u, with g the price
of an accelerator second and p that of a QPU second; the classical control's call, which blocks the training
for T seconds, costs g T. For the same answer they break even on

    p(R) = g (T − R) / u,

which is positive only for R < T: a round trip longer than the classical answer does not pay even if the QPU
is free. If both arms' gains on classical-only are known to be positive, calls are weighted by their gain: the
cost per unit of loss is equal on p(R) = g (κ T − R) / u, with κ the hybrid's gain per call over the
control's. Conversely, today's call costs as much as T' = R + p u / g seconds of a classical solver.
"""

from __future__ import annotations

import math

import pyarrow as pa
import pyarrow.compute as pc

from shotclock.bench.analysis import BreakEven, BreakEvenPoint, CallCost, SecondPrices
from shotclock.bench.judge.money import is_billed_by_wall
from shotclock.bench.numbers import number
from shotclock.bench.record.arm_runs import CONTROL, HYBRID
from shotclock.bench.schema import Summary


def find_break_even(summary: Summary, table: pa.Table, at: SecondPrices) -> BreakEven | None:
    """Compares the unprotected hybrid arms or, without any, all arms that called a QPU.

    None if no such arm has an answered, billed call, or if accelerator time has no price.
    """
    if at.gpu_second <= 0:
        return None
    costs = [cost for arm in summary.arms if (cost := _cost_call(summary, table, arm)) is not None]
    quantum = [
        cost for cost in costs if summary.arms[cost.arm].calls_quantum and cost.billed_s(cost.blocked_s) > 0
    ]
    unprotected = [
        cost for cost in quantum if cost.arm.startswith(HYBRID) and not summary.arms[cost.arm].protected
    ]
    compared = tuple(unprotected or quantum)
    if not compared:
        return None
    classical = next((cost for cost in costs if cost.arm == CONTROL), None)
    costs_alone = BreakEven(prices=at, quantum=compared, classical=classical)
    return costs_alone.model_copy(update={"points": _find_points(costs_alone)})


def _find_points(costs: BreakEven) -> dict[str, BreakEvenPoint]:
    if costs.classical is None:
        return {}
    points = {}
    for cost in costs.quantum:
        factor = costs.gain_factor(cost)
        classical_s = costs.classical.blocked_s * (1.0 if factor is None else factor)
        price = cost.price(classical_s, cost.blocked_s, costs.prices)
        round_trip_s = cost.round_trip(classical_s, costs.prices.qpu_second, costs.prices)
        points[cost.arm] = BreakEvenPoint(
            classical_s=cost.classical_s(costs.prices),
            price=price if price > 0 else None,
            round_trip_s=round_trip_s if round_trip_s > 0 else None,
            per_loss=factor is not None,
        )
    return points


def _cost_call(summary: Summary, table: pa.Table, arm: str) -> CallCost | None:
    rows = table.filter(pc.equal(table["arm"], arm))
    calls = rows.filter(rows["called"])
    answered = pc.sum(calls["answered"]).as_py() or 0
    if not answered:
        return None
    blocked_s = _total_s(calls, "added_latency_ns")
    session = is_billed_by_wall(summary, arm)
    # A session also bills the steps between calls.
    billed_s = _total_s(rows, "total_iteration_time_ns") - blocked_s if session else _sum(calls, "qpu_s")
    measured = calls["quantum_latency_ns"].drop_null()
    gain, note = _gain_per_call(summary, arm, answered)
    return CallCost(
        arm=arm,
        calls=answered,
        blocked_s=blocked_s / answered,
        round_trip_s=pc.mean(measured).as_py() / 1e9 if len(measured) else 0.0,
        usage_s=max(0.0, billed_s) / answered,
        by_wall=session,
        gain=gain,
        gain_note=note,
    )


def _sum(rows: pa.Table, column: str) -> float:
    return float(pc.sum(rows[column]).as_py() or 0)


def _total_s(rows: pa.Table, column: str) -> float:
    return _sum(rows, column) / 1e9


def _gain_per_call(summary: Summary, arm: str, answered: int) -> tuple[float | None, str]:
    loss = summary.arms[arm].loss
    if loss.improvement is None or not math.isfinite(loss.improvement):
        return None, "no gain is known"
    if loss.interval is None:
        return None, f"gain {number(loss.improvement)}, one seed: inconclusive"
    low, high = loss.interval
    note = f"gain {number(loss.improvement)} ({number(low)} to {number(high)})"
    if loss.improvement <= 0:
        return None, f"{note}: not positive"
    if low <= 0:
        return None, f"{note}: inconclusive"
    return loss.improvement * len(loss.per_seed) / answered, note
