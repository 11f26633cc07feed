"""How far subproblems that leave terms out are from the surrogate with all of them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from shotclock.bench.numbers import number
from shotclock.bench.record.rows import CallRow
from shotclock.bench.schema import Sentence, Summary


def median_error(calls: Sequence[CallRow]) -> float | None:
    """The median relative energy error; None without calls."""
    return median(call.surrogate_error for call in calls) if calls else None


def describe_surrogates(summary: Summary) -> list[Sentence]:
    """One sentence about the arms whose subproblems left terms out; none if no arm's did."""
    errors = {name: arm.surrogate_error for name, arm in summary.arms.items() if arm.surrogate_error}
    if not errors:
        return []
    low, high = min(errors.values()), max(errors.values())
    value = number(low) if number(low) == number(high) else f"{number(low)} to {number(high)}"
    text = (
        f"Terms left out: subproblems have terms on the device's couplings alone. Over assignments near "
        f"greedy's answer, what is left out varies {value} times as much as the energy of the dense "
        f"surrogate (medians of the arms), so the optimum of a subproblem need not be the model's."
    )
    return [Sentence(text=text, figures=tuple(f"{name}.surrogate_error" for name in errors))]
