"""Where the QPU stands among classical controls: the page's table and the terminal's line."""

from __future__ import annotations

from shotclock.bench.judge.ladder import NAMES
from shotclock.bench.numbers import NOTHING, ms, number, percent
from shotclock.bench.record.compared_calls import BEST_KNOWN, EXACT
from shotclock.bench.report.kit.grid import Cell, Grid, Group, row
from shotclock.bench.report.kit.wording import mark_arm, ratio
from shotclock.bench.schema import ArmSummary, Ladder, Ratio, Rung, Summary

TITLE = "Where the QPU stands"
SUMMARISED = {
    "greedy": "greedy",
    "random": "random",
    "annealing": "annealing",
    BEST_KNOWN: "the best known",
}


def compare_rungs(summary: Summary) -> Grid:
    """A control a row, an arm a group: how often the QPU's best sample was better, equal or worse."""
    groups = tuple(
        Group(_rows(arm.ladder), name, mark_arm(summary, arm))
        for name, arm in summary.arms.items()
        if arm.ladder is not None
    )
    currency = next((arm.cost.currency for arm in summary.arms.values()), "")
    head = ("control", "calls", "QPU better", "equal", "QPU worse", "median, ms a call", f"{currency} a call")
    return Grid("The QPU's best sample of a call and classical controls", head, groups)


def _rows(ladder: Ladder) -> tuple[tuple[Cell, ...], ...]:
    own = ("the QPU", f"{ladder.calls:,}", NOTHING, NOTHING, NOTHING, ms(ladder.median_ms))
    return (
        row((*own, number(ladder.money))),
        *(_row(NAMES.get(name, name), rung) for name, rung in ladder.rungs.items()),
    )


def _row(name: str, rung: Rung) -> tuple[Cell, ...]:
    over = rung.better.n - rung.within_call
    note = f"longer than the QPU in {over:,}" if over else ""
    shares = (_share(each) for each in (rung.better, rung.equal, rung.worse))
    cost = Cell(ms(rung.median_ms), note), number(rung.money)
    return row((Cell(name), f"{rung.better.n:,}", *shares, *cost))


def _share(share: Ratio) -> Cell:
    value, _, interval = ratio(share).partition(" (")
    return Cell(value, interval.rstrip(")"))


def summarise_ladder(summary: Summary) -> str:
    """One line about the arm with the most compared calls; "" without one."""
    arms = [(name, arm) for name, arm in summary.arms.items() if arm.ladder and arm.ladder.rungs]
    if not arms:
        return ""
    return _word_arm(*max(arms, key=lambda item: item[1].ladder.calls if item[1].ladder else 0))


def _word_arm(name: str, arm: ArmSummary) -> str:
    rungs = arm.ladder.rungs if arm.ladder else {}
    findings = [f"optimum {percent(rungs[EXACT].equal.value)}"] if EXACT in rungs else []
    if BEST_KNOWN in rungs:
        findings.append("optimum unknown")
    beaten = [
        f"{word} {percent(rungs[control].better.value)}"
        for control, word in (
            ("greedy", "greedy"),
            ("random", "random"),
            ("annealing", "annealing"),
            (BEST_KNOWN, "the best known"),
        )
        if control in rungs
    ]
    findings += [f"beats {', '.join(beaten)}"] if beaten else []
    return f"{name}: {', '.join(findings)}"
