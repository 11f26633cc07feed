"""Builds summary.json from the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from shotclock.bench.analysis import RepresentativeIteration
from shotclock.bench.judge import metrics as figures
from shotclock.bench.judge.accelerators import list_accelerators
from shotclock.bench.judge.checklist import checklist
from shotclock.bench.judge.gates import Threshold, judge, mission_gates, resolve
from shotclock.bench.judge.ladder import find_ladder
from shotclock.bench.judge.metrics import ArmRows, Prices
from shotclock.bench.judge.modes import meeting
from shotclock.bench.judge.pre_evaluation import find_pre_evaluated
from shotclock.bench.judge.sanity import sanity
from shotclock.bench.judge.surrogate import median_error
from shotclock.bench.judge.verdict import verdict
from shotclock.bench.judge.worth import add_worth
from shotclock.bench.placement import Placement
from shotclock.bench.record.arm_runs import BASELINE, Arm
from shotclock.bench.record.compared_calls import ComparedCall
from shotclock.bench.record.rows import StepRow, table
from shotclock.bench.replication import Replication
from shotclock.bench.schema import (
    ArmSummary,
    GateResult,
    Metric,
    ProfileSummary,
    Result,
    Summary,
    Verdict,
)
from shotclock.domain.accounting import NO_CHARGES, Charges
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.circuit import find_worst
from shotclock.domain.host_figures import AcceleratorFacts
from shotclock.domain.memory import BlockingPoint


@dataclass(frozen=True, slots=True)
class ArmFacts:
    """How an arm ran, as far as the rows do not hold it.

    arm: its definition
    profile, provider, mode: names; None without a QPU
    emulated: whether its QPU is emulated
    deadline_ms: of a call; None without calls
    call_every: steps between calls; None without calls
    prices: of the contract
    clock: wall or virtual
    charges: usage that has no rows
    device, calibration: of the QPU; "" if not reported
    skipped: due calls that were not made, by reason
    compared: its calls with samples beside their controls
    caches: whether equal calls share samples
    placement: of calls to several hosts
    """

    arm: Arm
    profile: str | None
    provider: str | None
    mode: str | None
    emulated: bool
    deadline_ms: float | None
    call_every: int | None
    prices: Prices
    clock: str = "wall"
    charges: Charges = NO_CHARGES
    device: str = ""
    calibration: str = ""
    skipped: Mapping[str, int] = field(default_factory=dict)
    compared: tuple[ComparedCall, ...] = ()
    caches: bool = False
    placement: Placement | None = None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run's facts outside its rows.

    run_id, shotclock: which run, by which version
    clock: wall or virtual
    quick: whether it ran with --quick
    workload, samples_per_step, kernel, n, shots: what was run
    started_at: when, ISO 8601
    duration_s: by the run's clock
    interrupted, failure: how it ended
    environment: the machine
    arms: how each ran
    profiles: by name
    thresholds: of the settings
    representative_iteration: a classical iteration of a medium model
    wall_s: by the wall clock
    request_budget_ms: how long a request of an inference workload may wait; None where it trains
    accelerators: that the process could use
    accelerators_because: how many, or why none
    host_warnings: of the host's health as the run began
    blocking_point: calls that fitted into memory as the run ended; None where no memory is known
    replication: of replicates over hosts; None of a run in one process
    """

    run_id: str
    shotclock: str
    clock: str
    quick: bool
    workload: str
    samples_per_step: int
    kernel: str
    n: int
    shots: int | Literal["fit"]
    started_at: str
    duration_s: float
    interrupted: bool
    failure: str
    environment: Mapping[str, str]
    arms: tuple[ArmFacts, ...]
    profiles: Mapping[str, ProfileSummary]
    thresholds: tuple[Threshold, ...]
    representative_iteration: RepresentativeIteration | None = None
    wall_s: float | None = None
    request_budget_ms: float | None = None
    accelerators: tuple[AcceleratorFacts, ...] = ()
    accelerators_because: str = "accelerators were not looked for"
    host_warnings: tuple[str, ...] = ()
    blocking_point: BlockingPoint | None = None
    replication: Replication | None = None


def summarise(steps: list[StepRow], run: RunFacts) -> Summary:
    """The complete summary; every arm has every figure, with or without samples."""
    arms = [facts.arm for facts in run.arms]
    rows = figures.by_arm(steps, arms)
    common = figures.common_steps(rows.values())
    thresholds = tuple(_judge(threshold, arms, rows) for threshold in run.thresholds)
    mission = tuple(_judge(threshold, arms, rows) for threshold in mission_gates(arms))
    metrics = _metrics(run, rows, thresholds)
    summaries = {facts.arm.name: _arm(facts, rows, common, run.samples_per_step) for facts in run.arms}
    figures_alone = Summary.model_validate(
        {
            "shotclock": run.shotclock,
            "run_id": run.run_id,
            "status": "failed" if run.failure else "interrupted" if run.interrupted else "complete",
            "failure": run.failure,
            "clock": run.clock,
            "emulated": any(facts.emulated for facts in run.arms),
            "quick": run.quick,
            "workload": run.workload,
            "kernel": run.kernel,
            "n": run.n,
            "shots": run.shots,
            "started_at": run.started_at,
            "duration_s": run.duration_s,
            "wall_s": run.wall_s,
            "common_steps": common,
            "environment": dict(run.environment),
            "arms": summaries,
            "metrics": metrics,
            "mission_gates": mission,
            "thresholds": thresholds,
            "profiles": dict(run.profiles),
            "verdict": Verdict(headline="", sentences=()),
            "representative_iteration": run.representative_iteration,
            "request_budget_ms": run.request_budget_ms,
            "replication": run.replication,
            "accelerators": list_accelerators(
                run.accelerators, run.accelerators_because, run.host_warnings, run.blocking_point
            ),
        }
    )
    return judge_summary(add_worth(figures_alone, table(steps)))


def judge_summary(figures_alone: Summary) -> Summary:
    """Adds the conclusions from the summary's figures: sanity, verdict and checklist, in this order."""
    summary = figures_alone.model_copy(update={"sanity": sanity(figures_alone)})
    summary = summary.model_copy(update={"verdict": verdict(summary)})
    return summary.model_copy(update={"checklist": checklist(summary)})


def _judge(threshold: Threshold, arms: list[Arm], rows: Mapping[str, ArmRows]) -> GateResult:
    target = resolve(threshold, arms)
    return judge(threshold, target, rows[target.arm])


def _metrics(
    run: RunFacts, rows: Mapping[str, ArmRows], thresholds: tuple[GateResult, ...]
) -> dict[str, Metric]:
    metrics: dict[str, Metric] = {}
    for facts in run.arms:
        arm = rows[facts.arm.name]
        for name, sample in figures.samples(arm).items():
            metrics[f"{arm.name}.{name}"] = figures.latency(sample, figures.find_censoring_ms(arm))
        for name, counts in figures.ratios(arm).items():
            metrics[f"{arm.name}.{name}"] = figures.as_ratio(counts)
    return {
        name: metric.model_copy(update={"ok": metric_holds(name, thresholds)})
        for name, metric in metrics.items()
    }


def metric_holds(metric: str, thresholds: tuple[GateResult, ...]) -> bool | None:
    """Whether a metric's thresholds hold; None without one, or if one is inconclusive."""
    results = [gate.result for gate in thresholds if gate.metric in {metric, *_quantiles(metric)}]
    if not results:
        return None
    return False if Result.FAIL in results else (True if set(results) == {Result.PASS} else None)


def _quantiles(metric: str) -> set[str]:
    return {f"{metric}.{quantile}_ms" for quantile in ("p50", "p95", "p99")}


def _arm(facts: ArmFacts, rows: Mapping[str, ArmRows], common: int, samples_per_step: int) -> ArmSummary:
    arm = rows[facts.arm.name]
    baseline = rows.get(BASELINE)
    calls = arm.calls
    optimizer_steps = sum(step.optimizer_steps for step in arm.steps)
    seconds = sum(step.total_iteration_time_ns for step in arm.steps) / NS_PER_S
    return ArmSummary(
        calls_quantum=facts.arm.quantum,
        profile=facts.profile,
        provider=facts.provider,
        device=facts.device,
        calibration=facts.calibration,
        mode=facts.mode,
        emulated=facts.emulated,
        deadline_ms=facts.deadline_ms,
        protected=facts.arm.protected,
        seeds=tuple(sorted({step.seed for step in arm.steps})),
        steps=sum(not step.further_call for step in arm.steps),
        calls=len(calls),
        skipped_calls=dict(facts.skipped),
        call_every=facts.call_every,
        clock=facts.clock,
        samples_per_s=samples_per_step * optimizer_steps / seconds if seconds else None,
        outcomes=figures.counts(call.outcome for call in calls),
        decisions=figures.counts(call.decision for call in calls if call.decision),
        winners=figures.counts(call.winner for call in calls if call.winner),
        phases=figures.counts(call.phase for call in calls if call.phase),
        emulator_overruns=sum(call.emulator_overrun for call in calls),
        simulation=str(find_worst(call.simulation for call in calls)),
        surrogate_error=median_error(calls),
        penalised_calls=sum(call.penalised and call.in_time for call in calls),
        causes=figures.counts(call.cause for call in calls if call.cause),
        meeting=meeting(arm.steps),
        ladder=find_ladder(facts.compared, facts.prices),
        pre_evaluated=find_pre_evaluated(calls),
        cache_hits=figures.count_hits(calls) if facts.caches else None,
        placement=facts.placement,
        loss=figures.loss(arm, baseline, common),
        cost=figures.cost(arm, baseline, common, facts.prices, facts.charges),
    )
