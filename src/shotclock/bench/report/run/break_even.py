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


def findings(found: BreakEven) -> str:
    """What the chart comes to, for its caption: every arm's gap, and where a break-even does not exist."""
    said = []
    for one in found.quantum:
        text = (
            f"{one.arm}: a call costs as much as {span(one.classical_s(found.prices))} of a classical solver"
        )
        if found.classical is not None:
            text += (
                f", {_times(one.cost(found.prices) / found.classical.cost(found.prices))} {CONTROL}'s call"
            )
        said.append(text)
    sentence = "; ".join(said)
    return ". ".join([sentence, *no_gain(found)]) + "."


def no_gain(found: BreakEven) -> list[str]:
    """Where a break-even does not exist, and why; nothing where all do."""
    if found.classical is None:
        return [f"No {CONTROL} ran, so there is no measured answer to break even with"]
    arms = [one.arm for one in found.quantum if found.gain_factor(one) is None]
    if not arms:
        return []
    names = "any of them" if len(arms) == len(found.quantum) else ", ".join(arms)
    return [
        f"Per unit of loss no break-even exists for {names}: its gain or {CONTROL}'s is not known to be "
        "above 0; the heavy line is for the same answer"
    ]


def _times(factor: float) -> str:
    return f"{number(factor)} times"


def break_even_grid(found: BreakEven) -> Grid:
    """Every arm's point, its break-even on either axis, and what its calls gained."""
    at = found.prices
    rows: list[tuple[str | Cell, ...]] = []
    for one in (*found.quantum, *((found.classical,) if found.classical else ())):
        asks = one is not found.classical
        rows.append(
            (
                Cell(one.arm, one.gain_note),
                f"{one.calls:,}",
                span(one.blocked_s),
                span(one.billed_s(one.blocked_s)) if asks else NOTHING,
                number(one.cost(at)),
                span(one.classical_s(at)),
                *(_break_even_cells(found, one) if asks else (NOTHING, NOTHING)),
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


def _break_even_cells(found: BreakEven, one: CallCost) -> tuple[Cell, Cell]:
    """The break-even price at today's round trip, and the break-even round trip at today's price."""
    point = found.points.get(one.arm)
    if point is None:
        return Cell(NOTHING), Cell(NOTHING)
    note = "same cost per unit of loss" if point.per_loss else "same answer"
    return (
        Cell("none", "round trip too long") if point.price is None else Cell(number(point.price), note),
        Cell("none", "price too high")
        if point.round_trip_s is None
        else Cell(span(point.round_trip_s), note),
    )
