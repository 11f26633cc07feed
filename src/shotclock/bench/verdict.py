"""What the figures say, in sentences; each names the metrics it rests on."""

from __future__ import annotations

from collections.abc import Mapping

from shotclock.bench.arms import BASELINE, CONTROL, HYBRID, RAW
from shotclock.bench.schema import (
    ArmSummary,
    Gate,
    Latency,
    Metric,
    Percentile,
    ProfileSummary,
    Ratio,
    Result,
    Sentence,
    Verdict,
)
from shotclock.domain.stages import Stage


def verdict(
    arms: Mapping[str, ArmSummary],
    metrics: Mapping[str, Metric],
    mission: tuple[Gate, ...],
    profiles: Mapping[str, ProfileSummary],
) -> Verdict:
    """The run's findings by the founding document's decision framework: fabric, mode, worth it or not."""
    sentences = [_fabric(gate, metrics) for gate in mission]
    sentences += [s for gate in mission for s in _sanity(gate, arms, metrics, profiles)]
    sentences += [_protection(name, metrics) for name, arm in arms.items() if arm.protected]
    sentences += [
        s
        for name, arm in arms.items()
        if arm.calls_quantum
        for s in (*_overruns(name, arm), *_penalised(name, arm))
    ]
    quality = _quality(arms)
    sentences += quality
    gains = [s for name in arms if name.startswith(HYBRID) or name == RAW for s in _loss(name, arms)]
    return Verdict(headline=_headline(arms, mission), sentences=tuple(sentences + gains))


def _fabric(gate: Gate, metrics: Mapping[str, Metric]) -> Sentence:
    figure = gate.metric.removesuffix(".p95_ms")
    arm = figure.removesuffix(".quantum_latency")
    advice = {
        Result.PASS: f"fits inline within {gate.limit:g} ms a call",
        Result.FAIL: f"does not fit inline within {gate.limit:g} ms: overlap the calls or take them offline",
        Result.INCONCLUSIVE: f"is not settled against {gate.limit:g} ms: more calls are needed",
    }
    return Sentence(
        text=f"{arm} {advice[gate.result]} ({_mean(metrics[figure])}{gate.why}).", figures=(gate.metric,)
    )


def _sanity(
    gate: Gate,
    arms: Mapping[str, ArmSummary],
    metrics: Mapping[str, Metric],
    profiles: Mapping[str, ProfileSummary],
) -> list[Sentence]:
    """The founding document's expectation, met or explained by the profile's largest component."""
    name = gate.metric.removesuffix(".quantum_latency.p95_ms")
    profile = profiles.get(arms[name].profile or "")
    added = metrics[f"{name}.added_latency"]
    if (
        profile is None
        or profile.sanity_mean_ms is None
        or not isinstance(added, Latency)
        or added.mean is None
    ):
        return []
    low, high = profile.sanity_mean_ms
    where = "above" if added.mean > high else "below" if added.mean < low else "within"
    stage, stage_ms = _largest_stage(name, metrics)
    made_of = ""
    if stage is Stage.QPU_EXEC_TIME:
        part, part_ms = max(profile.mean_by_component_ms.items(), key=lambda item: item[1])
        made_of = f", nearly all of it {part} ({part_ms:,.0f} ms)" if part_ms > 0.8 * stage_ms else ""
    text = (
        f"{name} adds {added.mean:,.0f} ms a call on average, {where} the founding document's {low:,.0f} to "
        f"{high:,.0f} ms; its largest stage is {stage} with {stage_ms:,.0f} ms{made_of}."
    )
    return [Sentence(text=text, figures=(f"{name}.added_latency", f"{name}.{stage}"))]


def _largest_stage(name: str, metrics: Mapping[str, Metric]) -> tuple[Stage, float]:
    means = {
        stage: found.mean or 0.0
        for stage in Stage
        if stage is not Stage.TOTAL_ITERATION_TIME
        and isinstance(found := metrics[f"{name}.{stage}"], Latency)
    }
    return max(means.items(), key=lambda item: item[1])


def _protection(name: str, metrics: Mapping[str, Metric]) -> Sentence:
    share, hits = metrics[f"{name}.quantum_share"], metrics[f"{name}.deadline_hit_ratio"]
    latency = metrics[f"{name}.added_latency"]
    text = (
        f"{name} answered {_percent(hits)} of its calls by the deadline, "
        f"{_percent(share)} with samples of the QPU{_p95(latency)}."
    )
    figures = ("quantum_share", "deadline_hit_ratio", "added_latency")
    return Sentence(text=text, figures=tuple(f"{name}.{figure}" for figure in figures))


def _overruns(name: str, arm: ArmSummary) -> list[Sentence]:
    if not arm.emulator_overruns:
        return []
    text = (
        f"{name}: the emulation computed for longer than the time it emulates in {arm.emulator_overruns} of "
        f"{arm.calls} calls; those latencies are this machine's, not a QPU's."
    )
    return [Sentence(text=text, figures=(f"{name}.quantum_latency",))]


def _penalised(name: str, arm: ArmSummary) -> list[Sentence]:
    if not arm.penalised_calls:
        return []
    text = (
        f"{name}: {arm.penalised_calls} of {arm.calls} calls ran at a rep_delay below the device's default "
        f"to fit their budget; what that costs in fidelity is an assumption of the device's noise."
    )
    return [Sentence(text=text, figures=(f"{name}.quantum_latency",))]


def _quality(arms: Mapping[str, ArmSummary]) -> list[Sentence]:
    racing = {name: arm for name, arm in arms.items() if name.startswith(HYBRID) and arm.calls}
    calls = sum(arm.calls for arm in racing.values())
    if not calls:
        return []
    wins = sum(arm.winners.get("quantum", 0) for arm in racing.values())
    text = (
        f"The QPU's samples beat the classical answer in {wins} of {calls} calls (ties are credited to "
        f"classical, which is exact to 20 variables)."
    )
    return [Sentence(text=text, figures=tuple(f"{name}.quantum_share" for name in racing))]


def _loss(name: str, arms: Mapping[str, ArmSummary]) -> list[Sentence]:
    loss = arms[name].loss
    if loss.improvement is None or arms[name].calls == 0:
        return []
    side = "below" if loss.improvement > 0 else "above"
    known = "one seed, no interval"
    if loss.interval is not None:
        low, high = loss.interval
        sure = "which excludes 0" if low > 0 or high < 0 else "which includes 0"
        known = f"95 % interval of the gain {low:+.3f} to {high:+.3f} over {len(loss.per_seed)} seeds, {sure}"
    control = ""
    if CONTROL in arms and (gain := arms[CONTROL].loss.improvement) is not None:
        control = f"; without a QPU, {CONTROL} gained {gain:+.3f}"
    paid = "" if arms[name].cost.money_per_loss is not None else "; cost per improvement: none"
    text = (
        f"{name} ends with a held-out loss {abs(loss.improvement):.3f} {side} {BASELINE}'s "
        f"({known}){control}{paid}."
    )
    return [Sentence(text=text, figures=(f"{name}.added_latency",))]


def _headline(arms: Mapping[str, ArmSummary], mission: tuple[Gate, ...]) -> str:
    racing = [arm for name, arm in arms.items() if name.startswith(HYBRID) and arm.calls]
    if not racing:
        return "No hybrid arm ran, so nothing is said about quantum."
    returned = sum(arm.outcomes.get("done", 0) for arm in racing)
    inline = [gate for gate in mission if gate.result is Result.PASS]
    fits = f"{len(inline)} of {len(mission)} fabrics fit inline" if mission else "no fabric was gated"
    if not returned:
        return f"Not worth it: no samples came back in time; {fits}."
    wins = sum(arm.winners.get("quantum", 0) for arm in racing)
    if not wins:
        return f"Not worth it: the QPU never beat the classical answer; {fits}."
    calls = sum(arm.calls for arm in racing)
    return (
        f"Undecided: the QPU beat the classical answer in {wins} of {calls} calls; {fits}. "
        f"Compare its loss with {CONTROL}'s."
    )


def _mean(metric: Metric) -> str:
    mean = metric.mean if isinstance(metric, Latency) else None
    return "" if mean is None else f"mean {mean:.0f} ms, "


def _percent(metric: Metric) -> str:
    value = metric.value if isinstance(metric, Ratio) else None
    return "none" if value is None else f"{100 * value:.4g} %"


def _p95(metric: Metric) -> str:
    p95 = metric.percentiles["p95"] if isinstance(metric, Latency) else None
    if isinstance(p95, Percentile) and p95.value is not None:
        return f", added latency p95 {p95.value:.0f} ms"
    return ""
