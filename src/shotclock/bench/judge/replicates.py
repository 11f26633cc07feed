"""Joins replicates of several hosts into one run, and finds how much hosts differ.

Only hosts of one kind, with equal machine facts, are joined: figures of different environments don't merge.
Variance components: Searle, Casella, McCulloch, Variance Components (1992), chapter 3, unbalanced one-way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, variance
from typing import Literal

from pydantic import ConfigDict, Field

from shotclock.bench.frozen import Frozen
from shotclock.bench.judge import metrics as figures
from shotclock.bench.judge.summarise import ArmFacts, RunFacts
from shotclock.bench.placement import HostCalls, Placement
from shotclock.bench.record.environment import Described, differences
from shotclock.bench.record.rows import StepRow
from shotclock.bench.replication import (
    LostExecution,
    OtherHosts,
    RepeatedSeeds,
    ReplicateHost,
    Replication,
    Spread,
)
from shotclock.bench.stats.statistics import estimate_paired_interval
from shotclock.domain.accounting import Charges

HOST = "host"
"""The fact of a machine in which hosts of one kind differ."""
COMPARED = ("added_latency", "quantum_latency", "total_iteration_time")
"""The latencies whose means are compared between hosts."""


class Replicate(Frozen):
    """One execution of a replicate: a seed of all arms on one host.

    schema_number: 1
    seed: its number
    validation: whether another host had run the seed before
    host: as the engine names it
    qpus: the QPUs that the scheduler had allocated
    facts: of the execution
    steps: its rows
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, ser_json_inf_nan="strings")

    schema_number: Literal[1] = Field(default=1, alias="schema")
    seed: int
    validation: bool
    host: str
    qpus: tuple[str, ...] = ()
    facts: RunFacts
    steps: tuple[StepRow, ...]

    @property
    def machine(self) -> dict[str, str]:
        """What its figures depend on, the host's name left out."""
        return {key: value for key, value in self.facts.environment.items() if key != HOST}


def group_by_kind(replicates: Sequence[Replicate]) -> list[list[Replicate]]:
    """Executions on equal machines; first those that make the run: the most seeds, then the lowest one."""
    kinds: list[list[Replicate]] = []
    for each in sorted(replicates, key=lambda each: (each.seed, each.validation)):
        same = next((kind for kind in kinds if kind[0].machine == each.machine), None)
        if same is None:
            kinds.append([each])
        else:
            same.append(each)
    return sorted(kinds, key=lambda kind: -sum(not each.validation for each in kind))


def join(replicates: Sequence[Replicate]) -> tuple[list[StepRow], RunFacts]:
    """Rows and facts of a run of these executions, of one kind and without validations; in order of seed."""
    first = replicates[0].facts
    facts = [each.facts for each in replicates]
    hosts = sorted({each.host for each in replicates})
    joined = replace(
        first,
        started_at=min(each.started_at for each in facts),
        duration_s=sum(each.duration_s for each in facts),
        wall_s=sum(each.wall_s or 0.0 for each in facts),
        environment={**first.environment, HOST: ", ".join(hosts)},
        arms=tuple(_join_arms(parts) for parts in zip(*(each.arms for each in facts), strict=True)),
        host_warnings=tuple(dict.fromkeys(text for each in facts for text in each.host_warnings)),
    )
    return [step for each in replicates for step in each.steps], joined


def _join_arms(parts: Sequence[ArmFacts]) -> ArmFacts:
    skipped: Counter[str] = Counter()
    for part in parts:
        skipped.update(part.skipped)
    placements = [part.placement for part in parts if part.placement is not None]
    return replace(
        parts[0],
        charges=_add_charges([part.charges for part in parts]),
        skipped=dict(skipped),
        compared=tuple(call for part in parts for call in part.compared),
        placement=_join_placements(placements) if placements else None,
    )


def _add_charges(parts: Sequence[Charges]) -> Charges:
    return Charges(
        abandoned=sum(part.abandoned for part in parts),
        abandoned_s=sum(part.abandoned_s for part in parts),
        abandoned_untold=sum(part.abandoned_untold for part in parts),
        sessions=sum(part.sessions for part in parts),
        sessions_s=sum(part.sessions_s for part in parts),
        sessions_untold=sum(part.sessions_untold for part in parts),
    )


def _join_placements(parts: Sequence[Placement]) -> Placement:
    calls: Counter[str] = Counter()
    unanswered: Counter[str] = Counter()
    for part in parts:
        calls.update({host: each.calls for host, each in part.hosts.items()})
        unanswered.update({host: each.unanswered for host, each in part.hosts.items()})
    return Placement(
        policy=parts[0].policy,
        hosts={host: HostCalls(calls=n, unanswered=unanswered[host]) for host, n in calls.items()},
        moves=sum(part.moves for part in parts),
        choices=tuple(choice for part in parts for choice in part.choices),
    )


def find_figures(replicate: Replicate) -> dict[str, float]:
    """`<arm>.<figure>` of one execution: mean latencies in ms, the share of QPU answers, the final loss."""
    by_arm = figures.by_arm(replicate.steps, [facts.arm for facts in replicate.facts.arms])
    common = figures.common_steps(by_arm.values())
    values: dict[str, float] = {}
    for name, arm in by_arm.items():
        samples = figures.samples(arm)
        means = {each: figures.latency(samples[each]).mean for each in COMPARED if each in samples}
        values |= {f"{name}.{each}_ms": mean for each, mean in means.items() if mean is not None}
        hits, calls = figures.ratios(arm).get("quantum_share", (0, 0))
        values |= {f"{name}.quantum_share": hits / calls} if calls and arm.arm.quantum else {}
        values |= {f"{name}.loss": loss for loss in figures.losses(arm, common).values()}
    return values


def describe_replication(
    engine: str,
    replicates: Sequence[Replicate],
    lost: Sequence[LostExecution],
    missing: Sequence[str],
) -> Replication:
    """Where the replicates ran, what was lost, and how hosts differ."""
    kinds = group_by_kind(replicates)
    values = {(each.seed, each.validation): find_figures(each) for each in replicates}
    run = kinds[0] if kinds else []
    return Replication(
        engine=engine,
        hosts=_list_hosts(kinds),
        lost=tuple(lost),
        missing=tuple(missing),
        spread=_find_spreads(run, values),
        repeated=_find_repeated(run, values),
        others=tuple(_describe_others(run[0], kind, values) for kind in kinds[1:]),
    )


def _list_hosts(kinds: Sequence[Sequence[Replicate]]) -> dict[str, ReplicateHost]:
    hosts: dict[str, ReplicateHost] = {}
    for number, kind in enumerate(kinds):
        for name in sorted({each.host for each in kind}):
            own = [each for each in kind if each.host == name]
            hosts[name] = ReplicateHost(
                replicates=tuple(each.seed for each in own if not each.validation),
                validations=tuple(each.seed for each in own if each.validation),
                kind=number,
                qpus=tuple(sorted({qpu for each in own for qpu in each.qpus})),
            )
    return hosts


Values = Mapping[tuple[int, bool], Mapping[str, float]]
"""The figures of each execution, by seed and whether it is a validation."""


def _find_spreads(kind: Sequence[Replicate], values: Values) -> dict[str, Spread]:
    by_figure: dict[str, dict[str, list[float]]] = {}
    for each in kind:
        for figure, value in values[each.seed, each.validation].items():
            by_figure.setdefault(figure, {}).setdefault(each.host, []).append(value)
    return {figure: find_spread(list(groups.values())) for figure, groups in by_figure.items()}


def find_spread(groups: Sequence[Sequence[float]]) -> Spread:
    """The variance components of a figure; groups: its values on each host."""
    n, hosts = sum(map(len, groups)), len(groups)
    if n == hosts:
        return Spread(n=n, hosts=hosts)
    within = sum((len(group) - 1) * variance(group) for group in groups if len(group) > 1) / (n - hosts)
    if hosts == 1:
        return Spread(n=n, hosts=hosts, within=within)
    mean = fmean(value for group in groups for value in group)
    square = sum(len(group) * (fmean(group) - mean) ** 2 for group in groups) / (hosts - 1)
    size = (n - sum(len(group) ** 2 for group in groups) / n) / (hosts - 1)
    return Spread(n=n, hosts=hosts, within=within, between=(square - within) / size)


def _find_repeated(kind: Sequence[Replicate], values: Values) -> dict[str, RepeatedSeeds]:
    firsts = {each.seed for each in kind if not each.validation}
    by_figure: dict[str, list[float]] = {}
    for seed in (each.seed for each in kind if each.validation and each.seed in firsts):
        first, second = values[seed, False], values[seed, True]
        for figure in first.keys() & second.keys():
            by_figure.setdefault(figure, []).append(second[figure] - first[figure])
    return {figure: _summarise(each) for figure, each in sorted(by_figure.items())}


def _summarise(shifts: list[float]) -> RepeatedSeeds:
    low, high = estimate_paired_interval(shifts) or (None, None)
    return RepeatedSeeds(n=len(shifts), equal=shifts.count(0.0), mean=fmean(shifts), low=low, high=high)


def _describe_others(run: Replicate, kind: Sequence[Replicate], values: Values) -> OtherHosts:
    pairs = Described("run", run.machine), Described("other", kind[0].machine)
    by_figure: dict[str, list[float]] = {}
    for each in kind:
        for figure, value in values[each.seed, each.validation].items():
            by_figure.setdefault(figure, []).append(value)
    return OtherHosts(
        hosts=tuple(sorted({each.host for each in kind})),
        differences=tuple(differences(*pairs)),
        seeds=tuple(sorted({each.seed for each in kind})),
        means={figure: fmean(each) for figure, each in by_figure.items()},
    )
