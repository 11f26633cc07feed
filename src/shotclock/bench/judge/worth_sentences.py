"""The verdict's sentences about what calls cost and what faster ones could give."""

from __future__ import annotations

from shotclock.bench.analysis import BreakEven, CallCost
from shotclock.bench.numbers import money, number, percent, span
from shotclock.bench.schema import Sentence, Summary
from shotclock.domain.stages import Stage

HINTS = {
    "": "",
    "overlap": '; waiting is most of it, which `mode = "overlap"` spends on training',
    "yield": "; waiting is most of it, and long enough to give the allocation back during a call",
}
"""By `Ceiling.hint`."""


def worth_sentences(summary: Summary) -> list[Sentence]:
    """Break-even and Amdahl's ceiling of each arm for which they were found."""
    sentences = []
    if summary.break_even is not None:
        break_even = summary.break_even
        sentences += [
            _word_break_even(cost, break_even) for cost in break_even.quantum if cost.arm in break_even.points
        ]
    for arm, ceiling in summary.amdahl.items():
        bound = "without bound" if ceiling.at_most is None else f"by {number(ceiling.at_most)}× at most"
        share = percent(ceiling.share)
        hint = HINTS[ceiling.hint or ""]
        text = f"{arm}: calls block {share} of its time, so faster calls speed it up {bound}{hint}."
        figures = (f"{arm}.added_latency", f"{arm}.{Stage.TOTAL_ITERATION_TIME}")
        sentences.append(Sentence(text=text, figures=figures))
    return sentences


def _word_break_even(cost: CallCost, break_even: BreakEven) -> Sentence:
    point, currency = break_even.points[cost.arm], break_even.prices.currency
    basis = "per unit of loss" if point.per_loss else "for the same answer"
    price = (
        f"no QPU price breaks even with classical-control {basis}, because the call's round trip alone is "
        "longer"
        if point.price is None
        else f"it breaks even with classical-control {basis} at {money(point.price, currency)} a QPU second"
    )
    text = f"{cost.arm}: a call costs as much as {span(point.classical_s)} of a classical solver; {price}."
    return Sentence(text=text, figures=(f"{cost.arm}.cost", f"{cost.arm}.added_latency"))
