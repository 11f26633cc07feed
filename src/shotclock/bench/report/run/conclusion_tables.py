"""The page's tables of what a run concludes: sanity figures and the integration checklist."""

from __future__ import annotations

from shotclock.bench.analysis import SanityArm, SanityFigure, SanityResult
from shotclock.bench.numbers import NOTHING, ms
from shotclock.bench.report.kit.grid import Cell, Grid, Group, plain, row
from shotclock.bench.report.kit.wording import SANITY, STATES, figure, format_expected, mark_arm, tags
from shotclock.bench.schema import CurvePoint, State, Summary

_LOOKS = {
    SanityResult.MET: "pass",
    SanityResult.EXPLAINED: "explained",
    SanityResult.NOT_MET: "fail",
    SanityResult.TOO_FEW: "inconclusive",
    SanityResult.NO_FIGURE: "inconclusive",
}
_STATE_LOOKS = {State.MET: "pass", State.NOT_MET: "fail", State.NOT_MEASURED: "inconclusive"}
_LARGEST = 3
"""Components named beside an arm; the rest are in its stages."""


def sanity(summary: Summary) -> Grid:
    """An arm a group: expected, measured, met or explained by its components, and how those are known."""
    groups = tuple(_arm(summary, arm_check) for arm_check in summary.sanity)
    head = ("", "result", "made of, ms a call", "numbers behind it", "expected, ms", "measured, ms")
    return Grid("This run and the reference figures", head, groups, words=4)


def _arm(summary: Summary, arm_check: SanityArm) -> Group:
    arm = summary.arms[arm_check.arm]
    mark = mark_arm(summary, arm)
    shown = [each for each in arm_check.figures if each.expected_ms or each.measured_ms is not None]
    rows = tuple(
        row(
            (
                Cell(each.statistic),
                _result(each),
                *_beside(arm_check, place),
                format_expected(each),
                _format_measured(each),
            )
        )
        for place, each in enumerate(shown)
    )
    return Group(rows, f"{arm_check.arm}: {arm_check.figure.removeprefix(f'{arm_check.arm}.')}", mark)


def _result(each: SanityFigure) -> Cell:
    return Cell(f"{SANITY[each.result]} {each.result}", look=_LOOKS[each.result])


def _format_measured(each: SanityFigure) -> str:
    return NOTHING if each.measured_ms is None else ms(each.measured_ms)


def _beside(arm_check: SanityArm, place: int) -> tuple[Cell, Cell]:
    """Beside the mean what it is made of, beside the next the largest's numbers, then the words."""
    if not arm_check.tags:
        return Cell(arm_check.said if place == 0 else ""), Cell("")
    if place == 0:
        parts = list(arm_check.components_ms.items())[:_LARGEST]
        made_of = ", ".join(f"{name} {ms(spent)}" for name, spent in parts)
        return Cell(made_of), Cell(tags(arm_check.tags))
    if place == 1:
        return Cell(arm_check.said), Cell(
            ", ".join(arm_check.rests_on)
            and f"{next(iter(arm_check.components_ms))}: {', '.join(arm_check.rests_on)}"
        )
    return Cell(""), Cell("")


def checklist(summary: Summary) -> Grid:
    """The six points; below each sentence what it rests on, beside it what would meet it."""
    rows = [
        (
            Cell(f"{STATES[point.state]} {point.state}", look=_STATE_LOOKS[point.state]),
            Cell(f"{number}. {point.title}"),
            Cell(point.said, _rests_on(summary, point)),
            point.fix or NOTHING,
        )
        for number, point in enumerate(summary.checklist, start=1)
    ]
    return plain("Integration checklist", ("state", "point", "this run", "to meet it"), rows, words=4)


def _rests_on(summary: Summary, point: CurvePoint) -> str:
    """The figures by name; figures of the same arms are grouped, with the arms listed once."""
    arms: dict[str, list[str]] = {}
    for name in point.figures:
        if figure(summary, name):
            arm, _, kind = name.partition(".")
            arms.setdefault(kind, []).append(arm)
    kinds: dict[tuple[str, ...], list[str]] = {}
    for kind, arm_names in arms.items():
        kinds.setdefault(tuple(arm_names), []).append(kind)
    sources = [f"{', '.join(numbers)} of {', '.join(arm_names)}" for arm_names, numbers in kinds.items()]
    return f"rests on {'; '.join(sources)}" if sources else ""
