"""Where the QPU's samples stand among classical controls, counted and in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shotclock.bench.analysis import LadderShares, Share
from shotclock.bench.judge.metrics import Prices
from shotclock.bench.numbers import NOTHING, ms, percent, percent_range
from shotclock.bench.record.compared_calls import (
    BEST_KNOWN,
    DENSE_SEARCH,
    EXACT,
    ComparedCall,
    ComparedControl,
)
from shotclock.bench.schema import Ladder, Ratio, Rung, Sentence, Summary
from shotclock.bench.stats.statistics import NS_PER_MS, ratio
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.plural import count

S_PER_H = 3600.0
NAMES = {
    "greedy": "greedy",
    "perturbed-greedy": "perturbed greedy at equal shots",
    "random": "random at equal shots",
    "annealing": "annealing",
    "tabu": "tabu",
    BEST_KNOWN: "the best of them (the optimum is unknown)",
    EXACT: "the optimum",
    DENSE_SEARCH: "annealing of the dense surrogate, by its energy",
}
"""The rungs in words, cheapest first; a control by another name keeps it."""
TIMED = ("annealing", "tabu")
"""Controls whose effort is not bounded by the shots, so their time is given with them."""


def find_ladder(calls: Sequence[ComparedCall], prices: Prices) -> Ladder | None:
    """The counts over an arm's compared calls; None without one."""
    if not calls:
        return None
    beside: dict[str, list[tuple[ComparedCall, ComparedControl]]] = {}
    for call in calls:
        for control in call.controls:
            beside.setdefault(control.name, []).append((call, control))
    return Ladder(
        calls=len(calls),
        median_ms=float(np.median([call.quantum_ns for call in calls])) / NS_PER_MS,
        money=float(np.mean([call.qpu_s for call in calls])) * prices.qpu_second,
        rungs={name: _count(pairs, prices) for name, pairs in beside.items()},
    )


def _count(pairs: Sequence[tuple[ComparedCall, ComparedControl]], prices: Prices) -> Rung:
    standings = [control.standing for _, control in pairs]
    took_ns = [control.took_ns for _, control in pairs]
    return Rung(
        better=ratio(standings.count("better"), len(pairs)),
        equal=ratio(standings.count("equal"), len(pairs)),
        worse=ratio(standings.count("worse"), len(pairs)),
        median_ms=float(np.median(took_ns)) / NS_PER_MS,
        money=float(np.mean(took_ns)) / NS_PER_S / S_PER_H * prices.gpu_hour,
        within_call=sum(control.took_ns <= call.quantum_ns for call, control in pairs),
    )


def find_shares(ladder: Ladder) -> LadderShares:
    """The shares that scripts read; the controls are those of `solvers.control_ladder`."""

    def beats(control: str) -> Share | None:
        return _find_share(ladder.rungs[control].better) if control in ladder.rungs else None

    return LadderShares(
        matches_optimum=_find_share(ladder.rungs[EXACT].equal) if EXACT in ladder.rungs else None,
        beats_greedy=beats("greedy"),
        beats_perturbed_greedy=beats("perturbed-greedy"),
        beats_random=beats("random"),
        beats_annealing=beats("annealing"),
        beats_tabu=beats("tabu"),
    )


def _find_share(share: Ratio) -> Share | None:
    if share.value is None or share.lower_bound is None or share.upper_bound is None:
        return None
    return Share(ratio=share.value, low=share.lower_bound, high=share.upper_bound, n=share.n)


def describe_ladders(summary: Summary) -> list[Sentence]:
    """A sentence for each arm whose samples were compared."""
    return [
        Sentence(text=describe_ladder(name, arm.ladder), figures=(f"{name}.ladder",))
        for name, arm in summary.arms.items()
        if arm.ladder is not None and arm.ladder.rungs
    ]


def describe_ladder(arm: str, ladder: Ladder) -> str:
    """How often the QPU's best sample matched the optimum and beat each other control, with intervals."""
    comparisons = []
    if EXACT in ladder.rungs:
        comparisons.append(f"matches the optimum in {_share(ladder.rungs[EXACT].equal)}")
    others = [
        f"{NAMES.get(name, name)} in {_share(rung.better)}"
        for name, rung in ladder.rungs.items()
        if name != EXACT
    ]
    if others:
        comparisons.append(f"beats {', '.join(others)}")
    return (
        f"{arm}: in {count(ladder.calls, 'call')} with samples, the QPU's best sample "
        f"{' and '.join(comparisons)} (99 % intervals); {_describe_times(ladder)}."
    )


def _share(ratio: Ratio) -> str:
    if ratio.value is None or ratio.lower_bound is None or ratio.upper_bound is None:
        return NOTHING
    return f"{percent(ratio.value)} ({percent_range(ratio.lower_bound, ratio.upper_bound)})"


def _describe_times(ladder: Ladder) -> str:
    """The medians, and whether the controls kept within the QPU's time."""
    timed = {name: ladder.rungs[name] for name in TIMED if name in ladder.rungs}
    parts = [f"{name} {ms(rung.median_ms)} ms" for name, rung in timed.items()]
    over = [
        f"{name} took longer than the QPU in {count(rung.better.n - rung.within_call, 'call')}"
        for name, rung in timed.items()
        if rung.within_call < rung.better.n
    ]
    return "; ".join(
        [f"median time per call: QPU {', '.join([f'{ms(ladder.median_ms)} ms', *parts])}", *over]
    )
