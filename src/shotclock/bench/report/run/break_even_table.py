"""The break-even in words and figures; what it is: `bench.judge.break_even`."""

from __future__ import annotations

from shotclock.bench.analysis import BreakEven, CallCost, SecondPrices
from shotclock.bench.numbers import NOTHING, money, number, span
from shotclock.bench.record.arm_runs import CONTROL
from shotclock.bench.report.kit.grid import Cell, Grid, plain


def word_prices(at: SecondPrices) -> str:
    """The prices as a chart's subtitle says them."""
    return (
        f"{money(3600 * at.gpu_second, at.currency)} a GPU hour, "
        f"{money(at.qpu_second, at.currency)} a QPU second"
    )


def findings(break_even: BreakEven) -> str:
    """What the chart comes to, for its caption: every arm's gap, and where a break-even does not exist."""
    sentences, prices = [], break_even.prices
    for cost in break_even.quantum:
        text = f"{cost.arm}: a call costs as much as {span(cost.classical_s(prices))} of a classical solver"
        if break_even.classical is not None:
            times = cost.cost(prices) / break_even.classical.cost(prices)
            text += f", {_times(times)} {CONTROL}'s call"
        sentences.append(text)
    sentence = "; ".join(sentences)
    return ". ".join([sentence, *no_gain(break_even)]) + "."


def no_gain(break_even: BreakEven) -> list[str]:
    """Where a break-even does not exist, and why; nothing where all do."""
    if break_even.classical is None:
        return [f"No {CONTROL} ran, so there is no measured answer to break even with"]
    arms = [cost.arm for cost in break_even.quantum if break_even.gain_factor(cost) is None]
    if not arms:
        return []
    names = "any of them" if len(arms) == len(break_even.quantum) else ", ".join(arms)
    return [
        f"Per unit of loss no break-even exists for {names}: its gain or {CONTROL}'s is not known to be "
        "above 0; the heavy line is for the same answer"
    ]


def _times(factor: float) -> str:
    return f"{number(factor)} times"


def break_even_grid(break_even: BreakEven) -> Grid:
    """Every arm's point, its break-even on either axis, and what its calls gained."""
    at = break_even.prices
    rows: list[tuple[str | Cell, ...]] = []
    for cost in (*break_even.quantum, *((break_even.classical,) if break_even.classical else ())):
        asks = cost is not break_even.classical
        rows.append(
            (
                Cell(cost.arm, cost.gain_note),
                f"{cost.calls:,}",
                span(cost.blocked_s),
                span(cost.billed_s(cost.blocked_s)) if asks else NOTHING,
                number(cost.cost(at)),
                span(cost.classical_s(at)),
                *(_break_even_cells(break_even, cost) if asks else (NOTHING, NOTHING)),
            )
        )
    head = (
        "arm",
        "answered calls",
        "a call holds the training",
        "QPU time billed",
        f"cost of a call, {at.currency}",
        "classical time at that cost",
        f"break-even {at.currency}/QPU s at this round trip",
        "break-even round trip at this price",
    )
    return plain(f"Cost of an answered call, at {word_prices(at)}", head, rows)


def _break_even_cells(break_even: BreakEven, cost: CallCost) -> tuple[Cell, Cell]:
    """The break-even price at today's round trip, and the break-even round trip at today's price."""
    point = break_even.points.get(cost.arm)
    if point is None:
        return Cell(NOTHING), Cell(NOTHING)
    note = "same cost per unit of loss" if point.per_loss else "same answer"
    return (
        Cell("none", "round trip too long") if point.price is None else Cell(number(point.price), note),
        Cell("none", "price too high")
        if point.round_trip_s is None
        else Cell(span(point.round_trip_s), note),
    )
