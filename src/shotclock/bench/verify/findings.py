"""What a summary concludes, against its own figures: sanity, verdict and checklist."""

from __future__ import annotations

from collections.abc import Iterator

from shotclock.bench.judge.checklist import TITLES
from shotclock.bench.judge.summarise import judge_summary
from shotclock.bench.judge.worth import add_worth, find_worth
from shotclock.bench.record.rows import Step, table
from shotclock.bench.schema import ArmSummary, Point, SanityArm, Summary
from shotclock.bench.verify.faults import Fault, disagreements

SUMMARY = "summary.json"


def check_conclusions(summary: Summary) -> Iterator[Fault]:
    """Conclusions that the summary's own figures do not give.

    Sentences may be worded otherwise by another version; what they conclude may not. A summary from before
    a finding was made has none of it, and is not asked for it.
    """
    drawn = judge_summary(summary)
    if summary.sanity:
        told, found = ({one.arm: _figures(one) for one in each.sanity} for each in (summary, drawn))
        yield from disagreements(SUMMARY, told, found, "sanity")
    if summary.verdict.worth or summary.verdict.way:
        told, found = (
            each.verdict.model_dump(include={"worth", "way", "modes"}) for each in (summary, drawn)
        )
        yield from disagreements(SUMMARY, told, found, "verdict")
    if summary.checklist:
        keys = [point.key for point in summary.checklist]
        if keys != list(TITLES):
            yield Fault(SUMMARY, f"checklist: has {', '.join(keys)}; its points are {', '.join(TITLES)}")
        told, found = ({one.key: _state(one) for one in each.checklist} for each in (summary, drawn))
        yield from disagreements(SUMMARY, told, found, "checklist")


def check_worth(rows: list[Step], summary: Summary) -> Iterator[Fault]:
    """Findings about time, loss and money that the rows do not give; schema 1 holds none."""
    if summary.schema_number == 1:
        return
    again = add_worth(summary, table(rows))
    for key in find_worth(summary, table(rows)):
        written, found = ({key: each.model_dump()[key]} for each in (summary, again))
        yield from disagreements(SUMMARY, written, found, "findings")


def _figures(arm: SanityArm) -> dict[str, object]:
    return arm.model_dump(exclude={"said"})


def _state(point: Point) -> dict[str, object]:
    return point.model_dump(include={"state", "figures"})


def check_cited(summary: Summary) -> Iterator[Fault]:
    """Figures that a conclusion rests on and that are not there."""
    cited = [("verdict", one.text, one.figures) for one in summary.verdict.sentences]
    cited += [("checklist", one.title, one.figures) for one in summary.checklist]
    for where, text, figures in cited:
        for figure in figures:
            if not _there(figure, summary):
                yield Fault(SUMMARY, f"{where}: '{text[:60]}' rests on {figure}, which there is not")


def _there(figure: str, summary: Summary) -> bool:
    arm, _, field = figure.rpartition(".")
    of_arm = arm in summary.arms and field in ArmSummary.model_fields
    return of_arm or any(figure == name or figure.startswith(f"{name}.") for name in summary.metrics)
