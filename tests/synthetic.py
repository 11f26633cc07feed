"""A run that never happened: rows and summary with realistic figures, the same for the same arguments.

`rows()` draws the calls, `summary()` counts them; the tests of the report, the trace and the HDR log
share both. Figures are plausible, not measured, and no statistic here is a reference for another's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import binom

from shotclock.bench.analysis import RepresentativeIteration
from shotclock.bench.judge.worth import add_worth
from shotclock.bench.record.rows import CALL_STAGES, CallRow, StepRow, table
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
    Sentence,
    Summary,
    UnitPrices,
    Verdict,
)
from shotclock.domain.stages import Stage, StageTiming

MS = 1_000_000
SOFTWARE_MS = {
    Stage.PROPOSE: 0.9,
    Stage.ADMISSION_WAIT: 0.04,
    Stage.SUBMISSION_BUCKET_WAIT: 0.002,
    Stage.BIND: 0.15,
    Stage.CIRCUIT_SUBMIT_LATENCY: 0.25,
    Stage.QPU_QUEUE_WAIT: 0.05,
    Stage.QPU_EXEC_TIME: 0.1,
    Stage.COLLECT: 0.3,
    Stage.POSTPROC_TIME: 0.8,
    Stage.APPLY: 0.4,
}
CLASSICAL_STAGES = (Stage.PROPOSE, Stage.ADMISSION_WAIT, Stage.POSTPROC_TIME, Stage.APPLY)
EMULATED = (
    Stage.SUBMISSION_BUCKET_WAIT,
    Stage.CIRCUIT_SUBMIT_LATENCY,
    Stage.QPU_QUEUE_WAIT,
    Stage.QPU_EXEC_TIME,
    Stage.COLLECT,
)


@dataclass(frozen=True)
class Arm:
    """How an arm of the synthetic run behaves; emulated_ms: mean waits of the stages in EMULATED."""

    name: str
    profile: str | None = None
    emulated_ms: tuple[float, ...] = ()
    deadline_ms: float = 30_000.0
    every: int | None = 5
    loss_floor: float = 0.118
    slow: bool = False

    @property
    def quantum(self) -> bool:
        """Whether its calls go to a QPU."""
        return self.profile is not None


COLOCATED = (0.0, 1.9, 6.0, 21.0, 1.1)
ARMS = (
    Arm("classical-only", every=None, loss_floor=0.124),
    Arm("classical-control", loss_floor=0.117),
    Arm("hybrid-colocated", "colocated", COLOCATED),
    Arm("hybrid-colocated-protected", "colocated", COLOCATED, deadline_ms=200.0),
    Arm("hybrid-onprem-today", "onprem-today", (0.0, 14.0, 620.0, 940.0, 210.0), slow=True),
    Arm("hybrid-public-cloud", "public-cloud", (0.0, 240.0, 4100.0, 2100.0, 930.0), slow=True),
    Arm("quantum-raw", "colocated", COLOCATED, loss_floor=0.121),
)


@dataclass(frozen=True)
class Size:
    """How long the run is; slow arms call every `slow_every` steps."""

    steps: int
    seeds: int
    slow_every: int
    quick: bool
    clock: Literal["wall", "virtual"]


QUICK = Size(450, 1, 90, quick=True, clock="wall")
FULL = Size(1000, 5, 5, quick=False, clock="virtual")
SMALL = Size(60, 2, 30, quick=True, clock="wall")


def _stages(arm: Arm, start_ns: int, rng: np.random.Generator) -> tuple[StageTiming, ...]:
    waits = dict(zip(EMULATED, arm.emulated_ms, strict=False)) if arm.quantum else {}
    timings = []
    for stage in CALL_STAGES if arm.quantum else CLASSICAL_STAGES:
        software = int(SOFTWARE_MS[stage] * MS * rng.lognormal(-0.08, 0.4))
        spread = 0.9 if stage is Stage.QPU_QUEUE_WAIT else 0.06
        emulated = int(waits.get(stage, 0.0) * MS * rng.lognormal(-spread * spread / 2, spread))
        timings.append(StageTiming(stage, start_ns, software + emulated, emulated))
        start_ns += software + emulated + 2_000
    return tuple(timings)


def _call(arm: Arm, identity: str, clock_ns: int, rng: np.random.Generator, missed: bool) -> CallRow:
    stages = _stages(arm, clock_ns, rng)
    deadline_ns = int(arm.deadline_ms * MS)
    blocked = stages[-1].start_ns + stages[-1].duration_ns - clock_ns + 180_000
    emulated = sum(timing.emulated_ns for timing in stages)
    arrival = blocked - sum(t.duration_ns for t in stages[-2:])
    missed = missed or (arm.quantum and (arrival > deadline_ns or rng.random() < 0.01))
    if missed and arm.deadline_ms < 1000:  # a protected call waits its budget out; other misses are faults
        blocked = deadline_ns
    winner = "classical" if rng.random() < 0.8 else "incumbent"
    if arm.name == "quantum-raw":
        winner = "quantum"
    return CallRow(
        request_id=identity,
        outcome="degraded" if missed else "done",
        cause="no samples by the deadline" if missed else "",
        decision="applied" if winner != "incumbent" else "rejected",
        winner=winner,
        base_version=1,
        deadline_ns=deadline_ns,
        in_time=arm.quantum and not missed,
        answered=True,
        added_latency_ns=min(blocked, deadline_ns),
        added_emulated_ns=min(emulated, deadline_ns),
        quantum_latency_ns=arrival if arm.quantum and not missed else None,
        quantum_emulated_ns=emulated if arm.quantum and not missed else 0,
        raw_gain=0.01,
        classical_gain=0.012,
        qpu_s=0.021 if arm.quantum else 0.0,
        attempts=1 if arm.quantum else 0,
        emulator_overrun=False,
        cached=False,
        penalised=False,
        sharers=1,
        stages=stages,
    )


def rows(
    size: Size = QUICK, *, arms: tuple[Arm, ...] = ARMS, all_missed: str = "", never_called: str = ""
) -> list[StepRow]:
    """Steps of every arm and seed. In `all_missed` no samples ever come; `never_called` calls nothing."""
    steps: list[StepRow] = []
    for number, arm in enumerate(arms):
        for seed in range(size.seeds):
            rng = np.random.default_rng([number, seed])
            every = size.slow_every if arm.slow else arm.every
            if arm.name == never_called:
                every = None
            steps += [
                *_arm_rows(arm, seed, range(size.steps), rng, every=every, missed=arm.name == all_missed)
            ]
    return steps


def _arm_rows(
    arm: Arm, seed: int, steps: range, rng: np.random.Generator, *, every: int | None, missed: bool
) -> Iterator[StepRow]:
    now, process_ns = 0, 7_000_000_000_000 + seed
    for step in steps:
        call = None
        if every and step % every == 0:
            call = _call(arm, f"{arm.name}-{seed}-{step}", process_ns, rng, missed)
        iteration = int(2.2 * MS * rng.lognormal(0, 0.15)) + (call.added_latency_ns if call else 0)
        curve = arm.loss_floor + 0.22 * float(np.exp(-step / 140)) + 0.004 * seed
        held_out = curve + 0.002 * float(rng.normal()) if (step + 1) % 25 == 0 else None
        batch = curve + 0.02 * float(rng.normal())
        yield StepRow(arm.name, seed, step, now, iteration, batch, held_out, call)
        now += iteration
        process_ns += iteration + 3_000


def _latency(values_ms: list[float], missed: int, above: float | None, gate: float | None = None) -> Latency:
    ordered, n = sorted(values_ms), len(values_ms) + missed
    percentiles: dict[Literal["p50", "p95", "p99"], Percentile | Literal["too_few_samples"]] = {}
    for name, p, fewest in (("p50", 0.5, 7), ("p95", 0.95, 130), ("p99", 0.99, 662)):
        if n < fewest:
            percentiles[name] = "too_few_samples"  # type: ignore[index]
            continue
        rank, bound = int(np.ceil(p * n)) - 1, int(binom.ppf(0.99, n, p))
        at = [ordered[k] if k < len(ordered) else None for k in (rank, bound)]
        percentiles[name] = Percentile(value=at[0], upper_bound=at[1])  # type: ignore[index]
    mean = float(np.mean(ordered)) if ordered else None
    return Latency(n=n, missed=missed, censored_above=above, mean=mean, percentiles=percentiles, ok=None)


def _ratio(hits: int, n: int) -> Ratio:
    value = hits / n if n else None
    low = max(0.0, value - 0.05) if value is not None else None
    high = min(1.0, value + 0.03) if value is not None else None
    return Ratio(n=n, value=value, lower_bound=low, upper_bound=high)


def _metrics(arm: Arm, steps: list[StepRow]) -> dict[str, Metric]:
    calls = [step.call for step in steps if step.call]
    metrics: dict[str, Metric] = {}

    def add(figure: str, pairs: list[tuple[int, int]], missed: int = 0, above: float | None = None) -> None:
        metrics[f"{arm.name}.{figure}"] = _latency([total / MS for total, _ in pairs], missed, above)
        metrics[f"{arm.name}.{figure}.software"] = _latency([(t - e) / MS for t, e in pairs], missed, above)
        metrics[f"{arm.name}.{figure}.emulated_wait"] = _latency([e / MS for _, e in pairs], missed, above)

    carrying = [step for step in steps if step.call] or steps
    add(
        Stage.TOTAL_ITERATION_TIME,
        [
            (step.total_iteration_time_ns, step.call.added_emulated_ns if step.call else 0)
            for step in carrying
        ],
    )
    add("added_latency", [(call.added_latency_ns, call.added_emulated_ns) for call in calls])
    for stage in CALL_STAGES:
        add(
            stage, [(t.duration_ns, t.emulated_ns) for call in calls for t in call.stages if t.stage is stage]
        )
    arrived = [
        (c.quantum_latency_ns, c.quantum_emulated_ns) for c in calls if c.quantum_latency_ns is not None
    ]
    missed = len(calls) - len(arrived) if arm.quantum else 0
    add("quantum_latency", arrived, missed, arm.deadline_ms)
    if arm.quantum:
        for kind, in_time in (("qpu", True), ("fallback", False)):
            add(f"added_latency.{kind}", [(c.added_latency_ns, 0) for c in calls if c.in_time is in_time])
    metrics[f"{arm.name}.quantum_share"] = _ratio(sum(c.in_time for c in calls), len(calls))
    metrics[f"{arm.name}.deadline_hit_ratio"] = _ratio(sum(c.answered for c in calls), len(calls))
    return metrics


def _arm_summary(arm: Arm, steps: list[StepRow], size: Size) -> ArmSummary:
    calls = [step.call for step in steps if step.call]
    seeds = sorted({step.seed for step in steps})
    per_seed = {s: 1.05 * arm.loss_floor + 0.004 * s for s in seeds}
    gain = 0.124 * 1.05 - 1.05 * arm.loss_floor
    hours = sum(step.total_iteration_time_ns for step in steps) / 3.6e12
    qpu_s = sum(call.qpu_s for call in calls)
    money = 2.10 * hours + 1.60 * qpu_s
    better = gain > 0
    return ArmSummary(
        calls_quantum=arm.quantum,
        profile=arm.profile,
        provider="emulated" if arm.quantum else None,
        mode="inline" if arm.every else None,
        emulated=arm.quantum,
        deadline_ms=arm.deadline_ms if arm.every else None,
        protected=arm.name.endswith("-protected"),
        seeds=tuple(seeds),
        steps=len(steps),
        calls=len(calls),
        call_every=size.slow_every if arm.slow else arm.every,
        samples_per_s=64 * len(steps) / (hours * 3600) if hours else None,
        outcomes=_count([call.outcome for call in calls]),
        decisions=_count([call.decision for call in calls]),
        winners=_count([call.winner for call in calls]),
        emulator_overruns=0,
        loss=Loss(
            per_seed=per_seed,
            mean=float(np.mean(list(per_seed.values()))) if per_seed else None,
            improvement=None if arm.every is None else gain,
            interval=(gain - 0.003, gain + 0.003) if arm.every and len(seeds) > 1 else None,
        ),
        cost=Cost(
            currency="USD",
            prices=UnitPrices(gpu_hour=2.10, qpu_second=1.60),
            compute_h=hours,
            qpu_s=qpu_s,
            money=money,
            compute_h_per_loss=hours / gain if better else None,
            money_per_loss=money / gain if better else None,
        ),
    )


def _count(words: list[str]) -> dict[str, int]:
    return {word: words.count(word) for word in sorted(set(words))}


def _profile(title: str, waits: tuple[float, ...], sanity: str | None) -> ProfileSummary:
    names = [str(stage) for stage in EMULATED]
    source = "https://quantum.cloud.ibm.com/docs/guides/max-execution-time, read 2025-11"
    return ProfileSummary(
        title=title,
        components=(
            Component(name="network_rtt", value=0.012, unit="ms", tag="assumed", source="CXL hop, mission"),
            Component(name="rep_delay", value=250.0, unit="µs", tag="published", source=source),
            Component(name="efficiency", value=0.83, unit="ratio", tag="measured", source="CLOPS fit, fez"),
        ),
        mean_by_component_ms=dict(zip(names, waits, strict=True)),
        predicted_mean_ms=sum(waits),
        predicted_p95_ms=2.1 * sum(waits),
        sanity=sanity,
        sanity_mean_ms=(20.0, 50.0) if sanity and "60–120" in sanity else None,
        sanity_p95_ms=(60.0, 120.0) if sanity and "60–120" in sanity else None,
        not_modelled=("calibration windows", "contention with other tenants"),
    )


def summary(
    steps: list[StepRow],
    size: Size = QUICK,
    *,
    arms: tuple[Arm, ...] = ARMS,
    status: Literal["complete", "interrupted"] = "complete",
) -> Summary:
    """The summary of `rows()`; an arm without steps stays in it with zeros."""
    by_arm = {arm.name: [step for step in steps if step.arm == arm.name] for arm in arms}
    metrics: dict[str, Metric] = {}
    for arm in arms:
        metrics |= _metrics(arm, by_arm[arm.name])
    first = next((arm.name for arm in arms if arm.quantum), arms[0].name)
    gate = f"{first}.quantum_latency.p95_ms"
    figures_alone = Summary(
        shotclock="0.1.0",
        run_id="20251122-072400-synthetic",
        status=status,
        clock=size.clock,
        emulated=True,
        quick=size.quick,
        workload="digits-mlp",
        kernel="qat_flip",
        n=12,
        shots=256,
        started_at="2025-11-22T07:24:00Z",
        duration_s=61.2,
        common_steps=size.steps,
        environment={"cpu": "EPYC 9654, 16 cores", "python": "3.11.7", "torch": "2.13.0", "gpu": "none"},
        arms={arm.name: _arm_summary(arm, by_arm[arm.name], size) for arm in arms},
        metrics=metrics,
        mission_gates=(
            GateResult(
                metric=gate, limit=200, direction="max", result=Result.PASS, why="3 of 1,000 over, 36 allowed"
            ),
            GateResult(
                metric="hybrid-onprem-today.quantum_latency.p95_ms",
                limit=200,
                direction="max",
                result=Result.FAIL,
                why="1,000 of 1,000 calls over 200 ms, 36 allowed",
            ),
            GateResult(
                metric="hybrid-public-cloud.quantum_latency.p95_ms",
                limit=200,
                direction="max",
                result=Result.INCONCLUSIVE,
                why="5 calls; p95 needs 130",
            ),
        ),
        thresholds=(
            GateResult(metric=gate, limit=80, direction="max", result=Result.FAIL, why="81 of 90 allowed"),
        ),
        profiles={
            "colocated": _profile("Co-located (target fabric)", COLOCATED, "mean 20–50 ms, p95 60–120 ms"),
            "onprem-today": _profile("On premises, as sold today", ARMS[4].emulated_ms, None),
            "public-cloud": _profile("Public cloud, shared queue", ARMS[5].emulated_ms, "mean 500 ms – 3 s"),
        },
        representative_iteration=RepresentativeIteration(workload="medium", n=10, mean_ms=108.0),
        verdict=Verdict(
            headline="Not worth it: the classical control reaches the same loss at a fiftieth of the wait.",
            sentences=(
                Sentence(
                    text="The co-located QPU answers within the mission's 200 ms, on a target fabric.",
                    figures=(gate, f"{first}.quantum_share"),
                ),
                Sentence(
                    text="Every improvement of the loss was also found by the classical control.",
                    figures=("classical-control.added_latency.p50_ms",),
                ),
                Sentence(text="Today's public cloud is for offline use only.", figures=()),
            ),
        ),
    )
    return add_worth(figures_alone, table(steps))
