"""Compares a run's figures with the reference figures: each met, or explained by its components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from shotclock.bench.analysis import SanityArm, SanityFigure, SanityResult
from shotclock.bench.numbers import ms
from shotclock.bench.record.arm_runs import BASELINE, HYBRID
from shotclock.bench.schema import ArmSummary, Component, Latency, Percentile, ProfileSummary, Summary
from shotclock.domain.stages import Stage

Statistic = Literal["mean", "p95", "p99"]
Range = tuple[float, float]
STATISTICS: tuple[Statistic, ...] = ("mean", "p95", "p99")

EXPECTED: Mapping[str, Mapping[Statistic, Range]] = {
    BASELINE: {"mean": (120.0, 120.0), "p95": (150.0, 150.0)},
    f"{HYBRID}colocated": {"mean": (20.0, 50.0), "p95": (60.0, 120.0), "p99": (150.0, 300.0)},
    f"{HYBRID}public-cloud": {"mean": (500.0, 3000.0)},
}
"""Milliseconds, from the specification's "Representative numbers (lab measurement guidance)".

The classical iteration is that of a medium model on an MI455X-like device. For the public cloud's p95 and p99
the specification says only "much higher"; it has no row for today's on-premises machines.
"""

NEAR = 0.25
"""The tolerance around a single number: the relative distance from the reference's mean to its p95."""

MEDIUM = "medium"
"""The workload modelled on the reference's; on an accelerator its iteration can be compared directly."""
TAGS = ("published", "measured", "assumed")
SOFTWARE = "software"
OVERHEAD, SHOTS = "subjob_overhead", "shots"
WAITED_FOR = (
    Stage.SUBMISSION_BUCKET_WAIT,
    Stage.CIRCUIT_SUBMIT_LATENCY,
    Stage.QPU_QUEUE_WAIT,
    Stage.QPU_EXEC_TIME,
    Stage.COLLECT,
)
BEHIND: Mapping[str, tuple[str, ...]] = {
    Stage.SUBMISSION_BUCKET_WAIT: ("submissions_per_minute",),
    Stage.CIRCUIT_SUBMIT_LATENCY: ("link.rtt", "link.submit_round_trips"),
    Stage.QPU_QUEUE_WAIT: ("queue",),
    OVERHEAD: ("subjob_overhead",),
    SHOTS: ("device.rep_delay", "device.efficiency", "device.reset"),
    Stage.COLLECT: ("poll_interval", "link.rtt", "link.collect_round_trips"),
}
"""The profile's numbers behind each component; `queue` means `queue.median` and all other `queue.…`."""


def sanity(summary: Summary) -> tuple[SanityArm, ...]:
    """Compares classical-only's iteration, and the latency a call adds in each unprotected hybrid arm."""
    compared = []
    for name, arm in summary.arms.items():
        if name == BASELINE:
            compared.append(_classical(summary))
        elif name.startswith(HYBRID) and not arm.protected:
            compared.append(_hybrid(summary, name, arm))
    return tuple(compared)


def _classical(summary: Summary) -> SanityArm:
    figure = f"{BASELINE}.{Stage.TOTAL_ITERATION_TIME}"
    latency = _latency(summary, figure)
    gpu = summary.environment.get("gpu", "")
    elsewhere = not (gpu and summary.workload.endswith(MEDIUM))
    figures = tuple(_figure(latency, BASELINE, each, elsewhere=elsewhere) for each in STATISTICS)
    where = gpu or summary.environment.get("cpu", "an unknown processor")
    comparison = (
        f"the reference is a medium model on an MI455X-like device, this run's {summary.workload} on {where}"
    )
    mean = {"training": latency.mean} if latency.mean is not None else {}
    return SanityArm(
        arm=BASELINE,
        figure=figure,
        figures=figures,
        components_ms=mean,
        rests_on=(),
        tags={},
        said=comparison,
    )


def _hybrid(summary: Summary, name: str, arm: ArmSummary) -> SanityArm:
    figure = f"{name}.added_latency"
    latency, waited = _latency(summary, figure), _latency(summary, f"{figure}.emulated_wait")
    profile = summary.profiles.get(arm.profile or "")
    parts = components_ms(summary, name)
    figures = tuple(
        _figure(latency, name, each, waits_ms=_waits_alone(waited, parts, each, arm)) for each in STATISTICS
    )
    largest = next(iter(parts), "")
    numbers = _behind(largest, profile)
    every = {component.name: component for part in BEHIND for component in _behind(part, profile)}
    return SanityArm(
        arm=name,
        figure=figure,
        figures=figures,
        components_ms=parts,
        rests_on=tuple(f"{component.name} ({component.tag})" for component in numbers),
        tags={tag: sum(each.tag == tag for each in every.values()) for tag in TAGS} if every else {},
        said=_describe_check(name, arm, latency, parts),
    )


def components_ms(summary: Summary, name: str) -> dict[str, float]:
    """The components of an arm's added latency, means per call, largest first; empty without a call.

    The QPU's time is split as the profile predicts it. The blocking time outside the waits is software; for
    an overlapped call that is all of it.
    """
    arm, latency = summary.arms[name], _latency(summary, f"{name}.added_latency")
    if latency.mean is None:
        return {}
    parts = _waits(summary, name, ".emulated_wait" if arm.emulated else "") if _all_waited_for(arm) else {}
    profile = summary.profiles.get(arm.profile or "")
    execution_ms = parts.get(Stage.QPU_EXEC_TIME, 0.0)
    predicted = {} if profile is None else profile.mean_by_component_ms
    whole = predicted.get(OVERHEAD, 0.0) + predicted.get(SHOTS, 0.0)
    if execution_ms and whole:
        del parts[Stage.QPU_EXEC_TIME]
        parts |= {part: execution_ms * predicted[part] / whole for part in (OVERHEAD, SHOTS)}
    parts[SOFTWARE] = max(0.0, latency.mean - sum(parts.values()))
    return dict(sorted(parts.items(), key=lambda part: -part[1]))


def _waits(summary: Summary, name: str, part: str) -> dict[str, float]:
    calls = _latency(summary, f"{name}.added_latency").n
    stages = {str(stage): _latency(summary, f"{name}.{stage}{part}") for stage in WAITED_FOR}
    return {stage: latency.mean * latency.n / calls for stage, latency in stages.items() if latency.mean}


def _waits_alone(waited: Latency, parts: Mapping[str, float], statistic: Statistic, arm: ArmSummary) -> float:
    """The time of the waits for the QPU; on hardware, where percentiles are not split, their mean."""
    if arm.emulated:
        return _value(waited, statistic) or 0.0
    return sum(spent for part, spent in parts.items() if part != SOFTWARE)


def _figure(
    latency: Latency, name: str, statistic: Statistic, *, waits_ms: float = 0.0, elsewhere: bool = False
) -> SanityFigure:
    """Compares one statistic. elsewhere: another workload or machine, which explains any difference.

    A figure above its range is explained if the waits alone are above it; a figure below is explained by its
    components.
    """
    expected = EXPECTED.get(name, {}).get(statistic)
    measured = _value(latency, statistic)
    if expected is None:
        result = SanityResult.NO_FIGURE
    elif measured is None:
        result = SanityResult.TOO_FEW
    elif _within(measured, expected):
        result = SanityResult.MET
    else:
        explained = elsewhere or measured < expected[0] or waits_ms > expected[1]
        result = SanityResult.EXPLAINED if explained else SanityResult.NOT_MET
    return SanityFigure(statistic=statistic, expected_ms=expected, measured_ms=measured, result=result)


def _within(measured: float, expected: Range) -> bool:
    low, high = expected
    slack = NEAR if low == high else 0.0
    return low * (1 - slack) <= measured <= high * (1 + slack)


def _describe_check(name: str, arm: ArmSummary, latency: Latency, parts: Mapping[str, float]) -> str:
    if latency.mean is None:
        return "no call was made"
    largest, spent = next(iter(parts.items()))
    beside = "" if _all_waited_for(arm) else "; the calls overlapped training"
    missing = "" if name in EXPECTED else "; the reference figures have no row for it"
    return f"{largest} is {ms(spent)} of {ms(latency.mean)} ms a call{beside}{missing}"


def _behind(part: str, profile: ProfileSummary | None) -> list[Component]:
    names = BEHIND.get(part, ())
    numbers = profile.components if profile else ()
    return [each for each in numbers if any(each.name == n or each.name.startswith(f"{n}.") for n in names)]


def _latency(summary: Summary, metric: str) -> Latency:
    latency = summary.metrics.get(metric)
    return latency if isinstance(latency, Latency) else Latency(n=0, mean=None, percentiles={})


def _value(latency: Latency, statistic: Statistic) -> float | None:
    if statistic == "mean":
        return latency.mean
    percentile = latency.percentiles.get(statistic)
    return percentile.value if isinstance(percentile, Percentile) else None


def _all_waited_for(arm: ArmSummary) -> bool:
    """Whether training waited for all calls; in older summaries by the configured mode."""
    return arm.mode == "inline" if arm.meeting is None else not arm.meeting.overlapped
