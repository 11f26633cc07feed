"""The founding document's representative numbers beside this run's: each met or explained by components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from shotclock.bench.numbers import ms
from shotclock.bench.record.arm_runs import BASELINE, HYBRID
from shotclock.bench.schema import (
    ArmSummary,
    Component,
    Latency,
    Percentile,
    ProfileSummary,
    SanityArm,
    SanityFigure,
    SanityResult,
    Summary,
)
from shotclock.domain.stages import Stage

Statistic = Literal["mean", "p95", "p99"]
Range = tuple[float, float]
STATISTICS: tuple[Statistic, ...] = ("mean", "p95", "p99")

EXPECTED: Mapping[str, Mapping[Statistic, Range]] = {
    BASELINE: {"mean": (120.0, 120.0), "p95": (150.0, 150.0)},
    f"{HYBRID}colocated": {"mean": (20.0, 50.0), "p95": (60.0, 120.0), "p99": (150.0, 300.0)},
    f"{HYBRID}public-cloud": {"mean": (500.0, 3000.0)},
}
"""Milliseconds, from "Representative numbers (lab measurement guidance)".

The classical iteration is that of a medium model on an MI455X-like device. Of the public cloud's p95 and p99
it only says "much higher"; it has no row for a machine on the premises as sold today.
"""

NEAR = 0.25
"""How far from a single number counts as meeting it: the document's own distance from its mean to its p95."""

MEDIUM = "medium"
"""The workload made to resemble the document's; on an accelerator its iteration answers for itself."""
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
"""The numbers of a profile that make each component; `queue` stands for `queue.median` and its like."""


def sanity(summary: Summary) -> tuple[SanityArm, ...]:
    """Classical-only's iteration, and what a call adds in each hybrid arm that shows the QPU as it is."""
    found = []
    for name, arm in summary.arms.items():
        if name == BASELINE:
            found.append(_classical(summary))
        elif name.startswith(HYBRID) and not arm.protected:
            found.append(_hybrid(summary, name, arm))
    return tuple(found)


def _classical(summary: Summary) -> SanityArm:
    figure = f"{BASELINE}.{Stage.TOTAL_ITERATION_TIME}"
    latency = _latency(summary, figure)
    gpu = summary.environment.get("gpu", "")
    elsewhere = not (gpu and summary.workload.endswith(MEDIUM))
    figures = tuple(_figure(latency, BASELINE, each, elsewhere=elsewhere) for each in STATISTICS)
    where = gpu or summary.environment.get("cpu", "an unknown processor")
    said = (
        f"the document's is a medium model on an MI455X-like device, this run's {summary.workload} on {where}"
    )
    mean = {"training": latency.mean} if latency.mean is not None else {}
    return SanityArm(
        arm=BASELINE, figure=figure, figures=figures, components_ms=mean, rests_on=(), tags={}, said=said
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
    every = {one.name: one for part in BEHIND for one in _behind(part, profile)}
    return SanityArm(
        arm=name,
        figure=figure,
        figures=figures,
        components_ms=parts,
        rests_on=tuple(f"{one.name} ({one.tag})" for one in numbers),
        tags={tag: sum(one.tag == tag for one in every.values()) for tag in TAGS} if every else {},
        said=_describe_check(name, arm, latency, parts),
    )


def components_ms(summary: Summary, name: str) -> dict[str, float]:
    """Means a call of what makes an arm's added latency, the largest first; empty where no call was made.

    The QPU's own time is split as the profile predicts it. What blocks training beside the waits is software;
    of an overlapped call that is all.
    """
    arm, latency = summary.arms[name], _latency(summary, f"{name}.added_latency")
    if latency.mean is None:
        return {}
    parts = _waits(summary, name, ".emulated_wait" if arm.emulated else "") if _all_waited_for(arm) else {}
    profile = summary.profiles.get(arm.profile or "")
    held = parts.get(Stage.QPU_EXEC_TIME, 0.0)
    predicted = {} if profile is None else profile.mean_by_component_ms
    whole = predicted.get(OVERHEAD, 0.0) + predicted.get(SHOTS, 0.0)
    if held and whole:
        del parts[Stage.QPU_EXEC_TIME]
        parts |= {part: held * predicted[part] / whole for part in (OVERHEAD, SHOTS)}
    parts[SOFTWARE] = max(0.0, latency.mean - sum(parts.values()))
    return dict(sorted(parts.items(), key=lambda part: -part[1]))


def _waits(summary: Summary, name: str, part: str) -> dict[str, float]:
    calls = _latency(summary, f"{name}.added_latency").n
    stages = {str(stage): _latency(summary, f"{name}.{stage}{part}") for stage in WAITED_FOR}
    return {stage: found.mean * found.n / calls for stage, found in stages.items() if found.mean}


def _waits_alone(waited: Latency, parts: Mapping[str, float], statistic: Statistic, arm: ArmSummary) -> float:
    """What the QPU's way alone takes; on hardware, where a percentile is not split, its mean."""
    if arm.emulated:
        return _value(waited, statistic) or 0.0
    return sum(spent for part, spent in parts.items() if part != SOFTWARE)


def _figure(
    latency: Latency, name: str, statistic: Statistic, *, waits_ms: float = 0.0, elsewhere: bool = False
) -> SanityFigure:
    """elsewhere: another workload on another machine, which is explanation enough.

    A figure above its range is explained where the waits alone are; one below has no more to explain than the
    components it is made of.
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
    missing = "" if name in EXPECTED else "; the founding document has no row for it"
    return f"{largest} is {ms(spent)} of {ms(latency.mean)} ms a call{beside}{missing}"


def _behind(part: str, profile: ProfileSummary | None) -> list[Component]:
    names = BEHIND.get(part, ())
    numbers = profile.components if profile else ()
    return [one for one in numbers if any(one.name == n or one.name.startswith(f"{n}.") for n in names)]


def _latency(summary: Summary, metric: str) -> Latency:
    found = summary.metrics.get(metric)
    return found if isinstance(found, Latency) else Latency(n=0, mean=None, percentiles={})


def _value(latency: Latency, statistic: Statistic) -> float | None:
    if statistic == "mean":
        return latency.mean
    found = latency.percentiles.get(statistic)
    return found.value if isinstance(found, Percentile) else None


def _all_waited_for(arm: ArmSummary) -> bool:
    """Of a summary from before calls were counted by mode: what was asked for."""
    return arm.mode == "inline" if arm.meeting is None else not arm.meeting.overlapped
