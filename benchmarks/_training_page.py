"""The section of the page, and the figures others read."""

from __future__ import annotations

from itertools import groupby

from _training_charts import NAMES
from _training_kernels import Row
from _training_lab import Ladder
from _training_overlap import Overlap
from _training_stale import Stale

QUANTUM = "QAOA noisy (EMULATED)"
CHARTS = ("Row loss by calls in flight", "Change of the loss by the age of an answer")
LAB_IN_FLIGHT = {
    "blind": {0: 0.038, 1: 0.60, 4: 1.15, 12: 1.98},
    "revalidated": {0: 0.038, 1: 0.044, 4: 0.046, 12: 0.062},
}
LAB_STALE = {
    "blind": {0: "−2.4", 1: "−0.5", 5: "+7.4 (.78)", 20: "+7.0 (.83)"},
    "blind + loss check": {0: "−3.0", 1: "−1.9", 5: "−0.15", 20: "−0.10"},
    "revalidated + loss check": {0: "−3.6", 1: "−2.4", 5: "−0.9", 20: "−0.7"},
}
LAB_KERNELS = {
    ("rounding, digits", "nothing"): "1 / 1, CE .264",
    ("rounding, digits", "greedy"): "n = 16: .13 / .15, .224",
    ("rounding, digits", "exact"): "n = 16: .11 / .14, .200",
    ("rounding, digits", "QAOA noisy (EMULATED)"): ".13 / .13, .208",
    ("rounding, digits", "tabu on whole rows"): ".06 / .08, .191",
    ("prune_mask, digits", "magnitude"): "1.06 → .272",
    ("prune_mask, digits", "greedy"): ".485 → .231",
    ("prune_mask, digits", "exact"): ".351 → .212",
}


def metrics(
    hidden: Overlap, in_flight: list[Stale], after_steps: list[Stale], rows: list[Row], steps: list[Ladder]
) -> dict[str, float]:
    """Metric → number; the harm is K1's, whose surrogate is exact."""
    revalidated = [stale for stale in in_flight if stale.policy.on_stale == "revalidate"]
    blind = [stale for stale in in_flight if stale.policy.on_stale == "blind"]
    figures: dict[str, float] = {
        "overlap_stall_ratio": hidden.stall_ratio,
        "overlap_carrying_ratio": hidden.carrying_ratio,
        "overlap_iteration_p50_ms": hidden.iteration_ms,
        "overlap_answer_p50_ms": hidden.answered_ms,
        "overlap_calls": hidden.calls,
        "overlap_calls_applied": hidden.applied,
        "applied_revalidated": sum(stale.harm.applied for stale in revalidated),
        "harmful_applies_revalidated": sum(stale.harm.to_surrogate for stale in revalidated),
        "harmful_applies_revalidated_to_task": sum(stale.harm.to_task for stale in revalidated),
        "applied_blind": sum(stale.harm.applied for stale in blind),
        "harmful_applies_blind": sum(stale.harm.to_surrogate for stale in blind),
        "harmful_applies_blind_to_task": sum(stale.harm.to_task for stale in blind),
    }
    for stale in in_flight:
        figures[f"in_flight_{stale.lag}_{_key(str(stale.policy))}_loss_ratio"] = stale.figure.mean
    for stale in after_steps:
        figures[f"stale_{stale.lag}_{_key(str(stale.policy))}_change_e3"] = stale.figure.mean
    for row in rows:
        for name in row.values:
            figures[f"{_key(row.kernel)}.{_key(row.arm)}.{_key(name)}"] = row.interval(name).mean
    for ladder in steps:
        for recipe in ladder.rows:
            for column, figure in zip(ladder.columns, recipe.figures, strict=True):
                figures[f"lab.{_key(ladder.name)}.{_key(recipe.words)}.{_key(column)}"] = figure.mean
    return figures


def markdown(
    hidden: Overlap, in_flight: list[Stale], after_steps: list[Stale], rows: list[Row], steps: list[Ladder]
) -> list[str]:
    """The whole section."""
    return [
        "## Training",
        "",
        *_describe_overlap(hidden),
        "",
        *_stale(in_flight, after_steps),
        "",
        *_kernels(rows),
        *_beside_the_lab(steps),
    ]


def _describe_overlap(hidden: Overlap) -> list[str]:
    decided = ", ".join(f"{count} {name}" for name, count in hidden.decided.items())
    return [
        "### Overlapped calls on the medium workload (EMULATED, profile colocated)",
        "",
        f"An iteration without calls takes {hidden.iteration_ms:.0f} ms (median). With a call every five "
        f"steps the training thread spends {100 * hidden.stall_ratio:.1f} % of the steps that carry one on "
        f"it; seen from outside, those steps are {100 * hidden.carrying_ratio:+.1f} % longer than plain ones "
        f"run in turn with them. {hidden.calls} calls, samples back after {hidden.answered_ms:.0f} ms "
        f"(median): {decided}.",
    ]


def _stale(in_flight: list[Stale], after_steps: list[Stale]) -> list[str]:
    lines = [
        "### Late answers",
        "",
        "K1, D calls in flight on one row: the rows' loss ÷ nearest rounding's after 24 calls on each (mean "
        "and 95 % interval over seeds). Harmful: applied changes that raised the row's loss (the surrogate "
        "itself); harmful to the task: those that raised the task's held-out loss.",
        "",
        "| policy | D | loss ÷ nearest | lab | applied | harmful | harmful to the task |",
        "|---|---|---|---|---|---|---|",
    ]
    for stale in in_flight:
        lab = LAB_IN_FLIGHT[str(stale.policy)][stale.lag]
        harm = stale.harm
        lines.append(
            f"| {stale.policy} | {stale.lag} | {stale.figure} | {lab:g} | "
            f"{harm.applied} | {harm.to_surrogate} | {harm.to_task} |"
        )
    lines += [
        "",
        "K3, an answer s optimizer steps old, late in training with momentum: change of the training loss × "
        "10³ by one answer (not applied counts 0), and how many applies raised it. Recipes: at the end.",
        "",
        "| policy | s | change × 10³ | lab | applied | harmful |",
        "|---|---|---|---|---|---|",
    ]
    for stale in after_steps:
        lab_words = LAB_STALE.get(str(stale.policy), {}).get(stale.lag, "–")
        harm = stale.harm
        lines.append(
            f"| {stale.policy} | {stale.lag} | {stale.figure} | {lab_words} | "
            f"{harm.applied} | {harm.to_task} |"
        )
    charts = [f"![{words}](benchmarks/{name})" for words, name in zip(CHARTS, NAMES, strict=True)]
    return [*lines, "", charts[0], "", charts[1]]


def _kernels(rows: list[Row]) -> list[str]:
    lines = ["### Kernels by arm", ""]
    for kernel, group in groupby(rows, key=lambda row: row.kernel):
        of_kernel = list(group)
        names = list(of_kernel[0].values)
        lines += [
            f"`{kernel}` (mean and 95 % interval over seeds; 1,024 shots):",
            "",
            "| arm | " + " | ".join(names) + " | lab |",
            "|---" * (len(names) + 2) + "|",
        ]
        for row in of_kernel:
            cells = " | ".join(str(row.interval(name)) for name in names)
            lines.append(f"| {row.arm} | {cells} | {LAB_KERNELS.get((kernel, row.arm), '–')} |")
        lines += ["", _verdict(of_kernel, names[-1]), ""]
    return lines


def _beside_the_lab(steps: list[Ladder]) -> list[str]:
    lines = [
        "### Where our figures leave the lab's",
        "",
        "One thing changed a row, until the lab's figures come out (mean and 95 % interval over seeds). The "
        "lab gives no intervals and not every detail: a figure of its is met where it lies in our interval.",
        "",
    ]
    for ladder in steps:
        lines += [
            ladder.words,
            "",
            "| recipe | " + " | ".join(ladder.columns) + " |",
            "|---" * (len(ladder.columns) + 1) + "|",
        ]
        for recipe in ladder.rows:
            lines.append(f"| {recipe.words} | " + " | ".join(map(str, recipe.figures)) + " |")
        lines += [
            "| the lab | " + " | ".join(f"{figure:g}" for figure in ladder.lab) + " |",
            "",
            _describe_match(ladder),
            "",
        ]
    return lines


def _describe_match(ladder: Ladder) -> str:
    """How near the first and the last row come, in words."""
    comparisons = []
    for which, recipe in (("first", ladder.rows[0]), ("last", ladder.rows[-1])):
        met = sum(
            abs(ours.mean - lab) <= ours.half for ours, lab in zip(recipe.figures, ladder.lab, strict=True)
        )
        comparisons.append(f"{met} of {len(ladder.lab)} by the {which} row")
    return f"{ladder.name}: of the lab's figures are met {', '.join(comparisons)}."


def _verdict(rows: list[Row], figure: str) -> str:
    """The quantum arm against its controls, seed by seed, in words; lower is better."""
    by_arm = {row.arm: row for row in rows}
    quantum, comparisons = by_arm[QUANTUM], []
    for control in ("perturbed greedy", "exact"):
        gap = quantum.less(by_arm[control], figure)
        word = "nil" if abs(gap.mean) <= gap.half else ("better" if gap.mean < 0 else "worse")
        comparisons.append(f"less {control} {gap.mean:+.3f} ± {gap.half:.3f} ({word})")
    return f"{QUANTUM}, {figure}, {', '.join(comparisons)}."


def _key(words: str) -> str:
    """A metric's name from words: lower case, letters and digits joined by underscores."""
    spelled = "".join(letter if letter.isalnum() else " " for letter in words.replace("÷", "over").lower())
    return "_".join(spelled.split())
