"""What an arm's name stands for, in words a first reader understands."""

from __future__ import annotations

from shotclock.bench.numbers import NOTHING
from shotclock.bench.record.arm_runs import BASELINE, CONTROL, LONGER, RAW, SOLVERS
from shotclock.bench.report.kit.grid import Cell, Grid, plain
from shotclock.bench.report.kit.wording import mark_arm
from shotclock.bench.schema import ArmSummary, Summary

_CLASSICAL = {
    BASELINE: "training alone, no call: the baseline (of a rounded network: rounding to nearest)",
    CONTROL: "the same calls, answered by a classical solver: what a QPU has to beat",
    LONGER: "no call: as many plain steps as fit into the time of classical-control, iteration by iteration",
}
_WEAKER = {
    "magnitude": "each variable by itself, couplings ignored",
    "random": "the best of as many random candidates as a call has shots",
    "perturbed-greedy": "the best of as many perturbed greedy answers as a call has shots",
    "greedy": "one-flip descent",
}


def compare_arms(summary: Summary) -> Grid:
    """An arm a row: where its answers come from, over which profile, and how the training waits."""
    rows = [
        (
            Cell(name, mark_arm(summary, arm), "code"),
            _describe_arm(name, arm),
            _describe_reach(summary, arm),
            (arm.mode or NOTHING) if arm.calls else NOTHING,
        )
        for name, arm in summary.arms.items()
    ]
    return plain("Arms", ("arm", "what it is", "the QPU's time is that of", "calls are"), rows, words=4)


def _describe_arm(name: str, arm: ArmSummary) -> str:
    if name in _CLASSICAL:
        return _CLASSICAL[name]
    if name in SOLVERS:
        return f"the same calls, answered by {_WEAKER[SOLVERS[name]]}"
    if name == RAW:
        return "the QPU's samples alone, no classical candidate: what they are worth by themselves"
    if arm.phases:
        time = "under the real deadline" if arm.protected else "with long to answer"
        return f"the workload's circuits on the QPU, {time}"
    if arm.protected:
        return "QPU and classical candidate under the real deadline, with fallback: what would be run"
    return "QPU and classical candidate, the better one is applied; calls have long to answer"


def _describe_reach(summary: Summary, arm: ArmSummary) -> str:
    if not arm.calls_quantum:
        return NOTHING
    if arm.placement is not None:
        counts = ", ".join(f"{host} ({each.calls} calls)" for host, each in arm.placement.hosts.items())
        return f"{arm.provider} on the host chosen by {arm.placement.policy}: {counts}"
    profile = summary.profiles.get(arm.profile or "")
    return profile.title if profile is not None else (arm.provider or NOTHING)
