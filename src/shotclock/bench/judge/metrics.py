"""Computes each arm's latencies, ratios, counts, loss and cost from its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from shotclock.bench.record.arm_runs import BASELINE, CLASSES, PARTS, Arm
from shotclock.bench.record.rows import CallRow, StepRow
from shotclock.bench.schema import TOO_FEW, Cost, Latency, Loss, Ratio, UnitPrices
from shotclock.bench.stats.statistics import QUANTILES, Sample, estimate_paired_interval, percentile, ratio
from shotclock.domain.accounting import NO_CHARGES, Charges
from shotclock.domain.budget import NS_PER_MS, NS_PER_S
from shotclock.domain.stages import Stage


@dataclass(frozen=True, slots=True)
class Prices:
    """The contract's prices.

    currency: of both prices
    qpu_second: price of a QPU second
    gpu_hour: price of an accelerator hour
    session: whether an emulated QPU is billed by the wall clock while the arm runs
    """

    currency: str
    qpu_second: float
    gpu_hour: float
    session: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ArmRows:
    """One arm's rows, all seeds."""

    arm: Arm
    steps: list[StepRow]

    @property
    def name(self) -> str:
        """The arm's name."""
        return self.arm.name

    @property
    def calls(self) -> list[CallRow]:
        """The calls in order of seed and step."""
        return [step.call for step in self.steps if step.call is not None]


def by_arm(steps: Iterable[StepRow], arms: Iterable[Arm]) -> dict[str, ArmRows]:
    """The rows by arm; arms without rows are included."""
    rows = {arm.name: ArmRows(arm, []) for arm in arms}
    for step in steps:
        rows[step.arm].steps.append(step)
    return rows


def samples(arm: ArmRows) -> dict[str, Sample]:
    """Every latency figure of an arm, including its software and emulated parts.

    total_iteration_time is over the iterations with a call, if the arm makes calls. Stages are over the calls
    that went through them. quantum_latency is over all calls except cache hits, which do not call a QPU and
    are a separate class; calls without samples count as missed.
    """
    latencies: dict[str, Sample] = {}
    calls = arm.calls
    back = [call for call in calls if call.quantum_latency_ns is not None]
    _split(
        latencies,
        "added_latency",
        [(call.added_latency_ns, call.added_emulated_ns) for call in calls],
    )
    _split(
        latencies,
        "quantum_latency",
        [(call.quantum_latency_ns or 0, call.quantum_emulated_ns) for call in back],
        missed=len(missing(arm)),
    )
    for kind in CLASSES if arm.arm.quantum else ():
        latencies[f"added_latency.{kind}"] = Sample.of(
            [call.added_latency_ns for call in calls if latency_class(call) == kind]
        )
    for stage in Stage:
        if stage is Stage.TOTAL_ITERATION_TIME:
            _split(latencies, str(stage), _iterations(arm))
        else:
            _split(latencies, str(stage), _stage(calls, stage))
    return latencies


def missing(arm: ArmRows) -> list[CallRow]:
    """The QPU calls that brought no samples in time; empty for an arm without a QPU."""
    if not arm.arm.quantum:
        return []
    return [call for call in arm.calls if call.quantum_latency_ns is None and not call.cached]


def find_censoring_ms(arm: ArmRows) -> float | None:
    """The lower bound of all missed quantum latencies: their smallest deadline; None without a miss."""
    return min((call.deadline_ns / NS_PER_MS for call in missing(arm)), default=None)


def latency_class(call: CallRow) -> str:
    """`qpu`: samples in time; `cache_hit`: an equal call's samples; `rejected`: refused; else `fallback`."""
    if call.in_time:
        return "qpu"
    if call.cached:
        return "cache_hit"
    return "rejected" if call.cause.startswith("rejected") else "fallback"


def latency(sample: Sample, censored_above: float | None = None) -> Latency:
    """The summary's record of a sample."""
    return Latency(
        n=sample.n,
        missed=sample.missed,
        censored_above=censored_above if sample.missed else None,
        mean=sample.mean_ms(),
        percentiles={name: percentile(sample, quantile) or TOO_FEW for name, quantile in QUANTILES.items()},  # type: ignore[misc]
    )


def ratios(arm: ArmRows) -> dict[str, tuple[int, int]]:
    """Successes and calls of each ratio."""
    calls = arm.calls
    return {
        "quantum_share": (sum(call.in_time for call in calls), len(calls)),
        "deadline_hit_ratio": (sum(call.answered for call in calls), len(calls)),
    }


def count_hits(calls: list[CallRow]) -> Ratio:
    """The share of calls answered from an equal call's samples."""
    return ratio(sum(call.cached for call in calls), len(calls))


def as_ratio(counts: tuple[int, int]) -> Ratio:
    """The summary's record of a share."""
    return ratio(*counts)


def counts(values: Iterable[str]) -> dict[str, int]:
    """How often each value occurs, most frequent first."""
    return dict(Counter(values).most_common())


def common_steps(arms: Iterable[ArmRows]) -> int:
    """The number of steps for which every arm and seed has a held-out loss; loss is compared at the last."""
    lasts = [
        max((step.step for step in arm.steps if step.seed == seed and step.eval_loss is not None), default=-1)
        for arm in arms
        for seed in {step.seed for step in arm.steps}
    ]
    return min(lasts, default=-1) + 1


def losses(arm: ArmRows, steps: int) -> dict[int, float]:
    """Held-out loss of each seed at the last common step."""
    return {
        step.seed: step.eval_loss
        for step in arm.steps
        if step.step == steps - 1 and step.eval_loss is not None
    }


def loss(arm: ArmRows, baseline: ArmRows | None, steps: int) -> Loss:
    """See `schema.Loss`."""
    by_seed = losses(arm, steps)
    base = losses(baseline, steps) if baseline else {}
    gains = [base[seed] - by_seed[seed] for seed in sorted(by_seed.keys() & base.keys())]
    return Loss(
        per_seed=by_seed,
        mean=sum(by_seed.values()) / len(by_seed) if by_seed else None,
        improvement=sum(gains) / len(gains) if gains and arm.name != BASELINE else None,
        interval=estimate_paired_interval(gains) if arm.name != BASELINE else None,
    )


def cost(
    arm: ArmRows, baseline: ArmRows | None, steps: int, prices: Prices, charges: Charges = NO_CHARGES
) -> Cost:
    """What the arm consumed over the common steps, and what it paid beyond classical-only for its gain.

    charges: of the whole run, because abandoned jobs and sessions do not appear in the rows.
    """
    hours, collected_s = _sum_consumption(arm, steps)
    jobs_s = collected_s + charges.abandoned_s
    # a session is billed by the wall clock, but overlapped jobs may last longer
    qpu_s = max(jobs_s, hours * 3600 if prices.session else charges.sessions_s)
    by_session = prices.session or charges.sessions > 0
    idle_s = qpu_s - jobs_s
    money = hours * prices.gpu_hour + qpu_s * prices.qpu_second
    gained = loss(arm, baseline, steps).improvement
    per_loss: tuple[float, float] | None = None
    if baseline is not None and gained is not None and gained > 0:
        base_hours, _ = _sum_consumption(baseline, steps)
        base_money = base_hours * prices.gpu_hour
        total_gain = gained * len(losses(arm, steps))
        per_loss = (hours - base_hours) / total_gain, (money - base_money) / total_gain
    return Cost(
        currency=prices.currency,
        prices=UnitPrices(gpu_hour=prices.gpu_hour, qpu_second=prices.qpu_second),
        compute_h=hours,
        qpu_s=qpu_s,
        abandoned_jobs=charges.abandoned,
        abandoned_qpu_s=charges.abandoned_s,
        abandoned_untold=charges.abandoned_untold,
        qpu_idle_s=idle_s if by_session else None,
        idle_money=idle_s * prices.qpu_second if by_session else None,
        sessions_untold=charges.sessions_untold,
        money=money,
        compute_h_per_loss=per_loss[0] if per_loss else None,
        money_per_loss=per_loss[1] if per_loss else None,
    )


def _sum_consumption(arm: ArmRows, steps: int) -> tuple[float, float]:
    """Accelerator hours of the common steps, and the QPU seconds of their jobs that brought samples."""
    rows = [step for step in arm.steps if step.step < steps]
    seconds = sum(step.total_iteration_time_ns for step in rows) / NS_PER_S
    return seconds / 3600, sum(step.call.qpu_s for step in rows if step.call)


def _iterations(arm: ArmRows) -> list[tuple[int, int]]:
    carrying = [step for step in arm.steps if step.call is not None and not step.further_call]
    return [
        (step.total_iteration_time_ns, step.call.added_emulated_ns if step.call else 0)
        for step in carrying or arm.steps
    ]


def _stage(calls: list[CallRow], stage: Stage) -> list[tuple[int, int]]:
    spent = []
    for call in calls:
        timings = [timing for timing in call.stages if timing.stage is stage]
        if timings:
            spent.append((sum(t.duration_ns for t in timings), sum(t.emulated_ns for t in timings)))
    return spent


def _split(latencies: dict[str, Sample], name: str, spent: list[tuple[int, int]], missed: int = 0) -> None:
    latencies[name] = Sample.of([total for total, _ in spent], missed)
    software, emulated = PARTS
    latencies[f"{name}.{software}"] = Sample.of([max(0, total - wait) for total, wait in spent])
    latencies[f"{name}.{emulated}"] = Sample.of([wait for _, wait in spent])
