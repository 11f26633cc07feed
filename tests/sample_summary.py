"""Summaries of a few exact figures, for what is concluded from them: sanity, verdict and checklist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from shotclock.bench.record.arm_runs import BASELINE, CONTROL
from shotclock.bench.schema import (
    ArmSummary,
    Component,
    Cost,
    GateResult,
    Latency,
    Loss,
    Metric,
    Percentile,
    ProfileSummary,
    Ratio,
    Result,
    Summary,
    UnitPrices,
    Verdict,
)
from shotclock.bench.stats.statistics import estimate_paired_interval

BASE_LOSS = {0: 1.0, 1: 1.1, 2: 0.9}
STAGES_MS = {"qpu_exec_time": 0.9, "collect": 0.1}
"""How a call's waits are shared."""


def make_cost(qpu_s: float = 10.0, idle_s: float | None = None) -> Cost:
    """Prices of 1.6 USD a QPU second."""
    return Cost(
        currency="USD",
        prices=UnitPrices(gpu_hour=0.0, qpu_second=1.6),
        compute_h=0.1,
        qpu_s=qpu_s,
        qpu_idle_s=idle_s,
        idle_money=None if idle_s is None else 1.6 * idle_s,
        money=1.6 * qpu_s,
        compute_h_per_loss=None,
        money_per_loss=None,
    )


@dataclass(frozen=True)
class Call:
    """How an arm calls: waits and software in ms, p95 of both waits and the whole; None is too few for it.

    below: how far its loss ends below classical-only's, a value a seed; wins: calls won by samples.
    """

    waits_ms: float
    software_ms: float = 5.0
    p95_ms: float | None = None
    gate: Result = Result.PASS
    n: int = 200
    every: int = 5
    wins: int = 0
    below: tuple[float, ...] = (0.0, 0.0, 0.0)
    fell_back: int = 0
    answered: int | None = None
    cost: Cost = field(default_factory=make_cost)
    emulated: bool = True
    tag: Literal["published", "measured", "assumed"] = "published"
    rtt_ms: float = 1.0


def latency(n: int, mean: float | None, p95: float | None = None) -> Latency:
    """A figure of which the mean and the p95 are known."""
    few: Literal["too_few_samples"] = "too_few_samples"
    known = few if p95 is None else Percentile(value=p95, upper_bound=p95)
    return Latency(n=n, mean=mean, percentiles={"p50": few, "p95": known, "p99": few})


def summary(
    calls: Mapping[str, Call],
    *,
    iteration_ms: float | None = 10.0,
    control: bool = True,
    thresholds: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
    workload: str = "digits-mlp",
) -> Summary:
    """classical-only with an iteration of so many ms, classical-control, and hybrid arms by name."""
    arms: dict[str, ArmSummary] = {}
    metrics: dict[str, Metric] = {}
    if iteration_ms is not None:
        arms[BASELINE] = _arm(None, calls=0, below=None)
        metrics[f"{BASELINE}.total_iteration_time"] = latency(1000, iteration_ms, 1.2 * iteration_ms)
    if control:
        arms[CONTROL] = _arm(None, calls=200, below=(0.0, 0.0, 0.0))
        metrics[f"{CONTROL}.added_latency"] = latency(200, 3.0, 4.0)
        metrics[f"{CONTROL}.deadline_hit_ratio"] = _ratio(200, 200)
    for name, call in calls.items():
        arms[name] = _arm(name, calls=call.n, below=call.below, call=call)
        metrics |= _metrics(name, call)
    gates = tuple(
        _gate(f"{name}.quantum_latency.p95_ms", call.gate)
        for name, call in calls.items()
        if not name.endswith("-protected")
    )
    return Summary(
        shotclock="0.1.0",
        run_id="concluded",
        status="complete",
        clock="virtual",
        emulated=any(call.emulated for call in calls.values()),
        quick=False,
        workload=workload,
        kernel="qat_flip",
        n=12,
        shots=256,
        started_at="2026-11-22T09:00:00Z",
        duration_s=1.0,
        common_steps=100,
        environment=dict(environment or {"cpu": "a processor"}),
        arms=arms,
        metrics=metrics,
        mission_gates=gates,
        thresholds=tuple(_gate(metric, Result.PASS) for metric in thresholds),
        profiles={name: _profile(call) for name, call in calls.items() if call.emulated},
        verdict=Verdict(headline="", sentences=()),
    )


def _metrics(name: str, call: Call) -> dict[str, Metric]:
    mean = call.waits_ms + call.software_ms
    waits_p95 = None if call.p95_ms is None else call.p95_ms - call.software_ms
    metrics: dict[str, Metric] = {
        f"{name}.added_latency": latency(call.n, mean, call.p95_ms),
        f"{name}.added_latency.emulated_wait": latency(call.n, call.waits_ms, waits_p95),
        f"{name}.added_latency.fallback": latency(call.fell_back, mean),
        f"{name}.quantum_latency": latency(call.n, mean, call.p95_ms),
        f"{name}.total_iteration_time": latency(call.n, mean + 10.0),
        f"{name}.circuit_submit_latency": latency(call.n, 0.0),
        f"{name}.quantum_share": _ratio(call.n - call.fell_back, call.n),
        f"{name}.deadline_hit_ratio": _ratio(call.n if call.answered is None else call.answered, call.n),
    }
    for stage, share in STAGES_MS.items():
        spent = share * call.waits_ms
        metrics[f"{name}.{stage}"] = latency(call.n, spent)
        metrics[f"{name}.{stage}.emulated_wait"] = latency(call.n, spent if call.emulated else 0.0)
    return metrics


def _arm(
    name: str | None, *, calls: int, below: tuple[float, ...] | None, call: Call | None = None
) -> ArmSummary:
    losses = {seed: value - (below or (0.0,) * 3)[seed] for seed, value in BASE_LOSS.items()}
    return ArmSummary(
        calls_quantum=name is not None,
        profile=name if call and call.emulated else None,
        provider=None,
        mode="inline" if calls else None,
        emulated=bool(call and call.emulated),
        deadline_ms=200.0 if calls else None,
        protected=bool(name and name.endswith("-protected")),
        seeds=(0, 1, 2),
        steps=300,
        calls=calls,
        call_every=call.every if call else (5 if calls else None),
        samples_per_s=None,
        outcomes={"done": calls} if calls else {},
        decisions={},
        winners={"classical": calls - call.wins, "quantum": call.wins} if call else {},
        emulator_overruns=0,
        loss=Loss(
            per_seed=losses,
            mean=1.0,
            improvement=None if below is None else sum(below) / 3,
            interval=None if below is None else estimate_paired_interval(list(below)),
        ),
        cost=call.cost if call else make_cost(0.0),
    )


def _profile(call: Call) -> ProfileSummary:
    def number(name: str, value: float, unit: str) -> Component:
        return Component(name=name, value=value, unit=unit, tag=call.tag, source="of this test alone")

    return ProfileSummary(
        title="A profile",
        components=(
            number("link.rtt", call.rtt_ms, "ms"),
            number("subjob_overhead.value", 2.0, "s"),
            number("device.rep_delay", 250.0, "us"),
            number("device.noise.base", 0.05, "1"),
        ),
        mean_by_component_ms={"subjob_overhead": 3.0, "shots": 1.0},
        predicted_mean_ms=4.0,
        predicted_p95_ms=5.0,
        sanity=None,
        not_modelled=(),
    )


def _gate(metric: str, result: Result) -> GateResult:
    return GateResult(metric=metric, limit=200.0, direction="max", result=result, why="so many calls")


def _ratio(hits: int, n: int) -> Ratio:
    return Ratio(n=n, value=hits / n, lower_bound=0.0, upper_bound=1.0)
