"""Checks a summary's conclusions against its figures: sanity, verdict and checklist."""

from __future__ import annotations

from collections.abc import Iterator

from shotclock.bench.analysis import SanityArm
from shotclock.bench.judge.checklist import TITLES
from shotclock.bench.judge.summarise import judge_summary
from shotclock.bench.judge.worth import add_worth, find_worth
from shotclock.bench.record.rows import StepRow, table
from shotclock.bench.schema import ArmSummary, CurvePoint, Summary
from shotclock.bench.verify.contradictions import Contradiction, disagreements

SUMMARY = "summary.json"


def check_conclusions(summary: Summary) -> Iterator[Contradiction]:
    """Conclusions that do not follow from the summary's figures.

    Other versions may word sentences differently, but must draw the same conclusions. Findings that an older
    summary does not hold are not checked.
    """
    judged = judge_summary(summary)
    if summary.sanity:
        written, expected = ({arm.arm: _figures(arm) for arm in each.sanity} for each in (summary, judged))
        yield from disagreements(SUMMARY, written, expected, "sanity")
    if summary.verdict.worth or summary.verdict.way:
        written, expected = (
            each.verdict.model_dump(include={"worth", "way", "modes"}) for each in (summary, judged)
        )
        yield from disagreements(SUMMARY, written, expected, "verdict")
    if summary.checklist:
        keys = [point.key for point in summary.checklist]
        if keys != list(TITLES):
            yield Contradiction(
                SUMMARY, f"checklist: has {', '.join(keys)}; its points are {', '.join(TITLES)}"
            )
        written, expected = (
            {point.key: _state(point) for point in each.checklist} for each in (summary, judged)
        )
        yield from disagreements(SUMMARY, written, expected, "checklist")


def check_worth(rows: list[StepRow], summary: Summary) -> Iterator[Contradiction]:
    """Findings about time, loss and money that do not follow from the rows; schema 1 has none."""
    if summary.schema_number == 1:
        return
    recomputed = _omit_hints(add_worth(summary, table(rows)), summary)
    for key in find_worth(summary, table(rows)):
        written, expected = ({key: each.model_dump()[key]} for each in (summary, recomputed))
        yield from disagreements(SUMMARY, written, expected, "findings")


def _omit_hints(recomputed: Summary, written: Summary) -> Summary:
    """Without the hints that an older summary lacks."""
    old = {arm for arm, ceiling in written.amdahl.items() if ceiling.hint is None}
    ceilings = {
        arm: ceiling.model_copy(update={"hint": None}) if arm in old else ceiling
        for arm, ceiling in recomputed.amdahl.items()
    }
    return recomputed.model_copy(update={"amdahl": ceilings})


def _figures(arm: SanityArm) -> dict[str, object]:
    return arm.model_dump(exclude={"said"})


def _state(point: CurvePoint) -> dict[str, object]:
    return point.model_dump(include={"state", "figures"})


def check_cited(summary: Summary) -> Iterator[Contradiction]:
    """Figures that a conclusion cites and that do not exist."""
    cited = [("verdict", sentence.text, sentence.figures) for sentence in summary.verdict.sentences]
    cited += [("checklist", point.title, point.figures) for point in summary.checklist]
    for where, text, figures in cited:
        for figure in figures:
            if not _exists(figure, summary):
                yield Contradiction(SUMMARY, f"{where}: '{text[:60]}' cites {figure}, which does not exist")


def _exists(figure: str, summary: Summary) -> bool:
    arm, _, field = figure.rpartition(".")
    of_arm = arm in summary.arms and field in ArmSummary.model_fields
    return of_arm or any(figure == name or figure.startswith(f"{name}.") for name in summary.metrics)
