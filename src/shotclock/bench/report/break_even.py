"""At what round trip and price a quantum call would cost no more than the classical answer it replaces.

A call that holds the training for R seconds and the QPU for u seconds costs g R + p u, with g the price of
an accelerator second and p that of a QPU second; the classical control's costs g T, with T what its call
holds the training. For the same answer they break even on

    p(R) = g (T − R) / u,

which is positive only for R < T: a round trip longer than the classical answer is not worth it even free of
charge. Where both arms' gains on classical-only are positive and settled, a call is worth its gain: the cost
per unit of loss is the same on p(R) = g (κ T − R) / u, with κ the hybrid's gain a call over the control's.
Turned round, today's call costs as much as T' = R + p u / g seconds of a classical solver.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from shotclock.bench.arms import CONTROL, HYBRID
from shotclock.bench.numbers import NOTHING, number, span
from shotclock.bench.report.grid import Cell, Grid, plain
from shotclock.bench.report.money import Prices, by_the_wall
from shotclock.bench.schema import Summary


@dataclass(frozen=True, slots=True)
class Asked:
    """What an answered call of an arm took, means over its answered calls; misses' time is theirs to bear.

    blocked_s: R, what it held the training; round_trip_s: scheduled instant to samples, equal to R or less
    where the training waits; usage_s: billed QPU time beside R; by_wall: R itself is billed too (a session).
    gain: of loss on classical-only, by call; None where it is not above 0 with its whole 95 % interval.
    """

    arm: str
    calls: int
    blocked_s: float
    round_trip_s: float
    usage_s: float
    by_wall: bool
    gain: float | None
    gain_words: str

    def billed_s(self, round_trip_s: float) -> float:
        """QPU seconds on the bill of one call, were its round trip so long."""
        return self.usage_s + (round_trip_s if self.by_wall else 0.0)

    def cost(self, at: Prices) -> float:
        """Of one call as it is."""
        return at.gpu_second * self.blocked_s + at.qpu_second * self.billed_s(self.blocked_s)

    def worth_s(self, at: Prices) -> float:
        """T': the classical solver's time that costs the same."""
        return self.cost(at) / at.gpu_second

    def price(self, classical_s: float, round_trip_s: float, at: Prices) -> float:
        """p(R) against a classical answer of so many seconds; not positive where there is none."""
        return at.gpu_second * (classical_s - round_trip_s) / self.billed_s(round_trip_s)

    def round_trip(self, classical_s: float, price: float, at: Prices) -> float:
        """R at which p(R) is this price; not positive where there is none."""
        left = at.gpu_second * classical_s - price * self.usage_s
        return left / (at.gpu_second + (price if self.by_wall else 0.0))


@dataclass(frozen=True, slots=True)
class BreakEven:
    """The quantum arms to compare, and the classical answer they compete with.

    classical: None without calls of a control arm.
    """

    prices: Prices
    quantum: tuple[Asked, ...]
    classical: Asked | None

    def factor(self, arm: Asked) -> float | None:
        """κ; None where one of the gains is not settled above 0."""
        if self.classical is None or arm.gain is None or self.classical.gain is None:
            return None
        return arm.gain / self.classical.gain


def break_even(summary: Summary, table: pa.Table, at: Prices) -> BreakEven | None:
    """Of the unprotected hybrid arms, or of whatever asked a QPU where there are none.

    None where no such arm has an answered, billed call, or an accelerator's time has no price.
    """
    if at.gpu_second <= 0:
        return None
    asked = [one for name in summary.arms if (one := _asked(summary, table, name)) is not None]
    quantum = [
        one for one in asked if summary.arms[one.arm].calls_quantum and one.billed_s(one.blocked_s) > 0
    ]
    plain_ones = [
        one for one in quantum if one.arm.startswith(HYBRID) and not summary.arms[one.arm].protected
    ]
    classical = next((one for one in asked if one.arm == CONTROL), None)
    chosen = tuple(plain_ones or quantum)
    return BreakEven(at, chosen, classical) if chosen else None


def _asked(summary: Summary, table: pa.Table, arm: str) -> Asked | None:
    rows = table.filter(pc.equal(table["arm"], arm))
    calls = rows.filter(rows["called"])
    answered = pc.sum(calls["answered"]).as_py() or 0
    if not answered:
        return None
    blocked_s = _total_s(calls, "added_latency_ns")
    session = by_the_wall(summary, arm)
    # a session bills the steps between the calls too
    billed_s = _total_s(rows, "total_iteration_time_ns") - blocked_s if session else _sum(calls, "qpu_s")
    measured = calls["quantum_latency_ns"].drop_null()
    gain, words = _gain(summary, arm, answered)
    return Asked(
        arm=arm,
        calls=answered,
        blocked_s=blocked_s / answered,
        round_trip_s=pc.mean(measured).as_py() / 1e9 if len(measured) else 0.0,
        usage_s=max(0.0, billed_s) / answered,
        by_wall=session,
        gain=gain,
        gain_words=words,
    )


def _sum(rows: pa.Table, column: str) -> float:
    return float(pc.sum(rows[column]).as_py() or 0)


def _total_s(rows: pa.Table, column: str) -> float:
    return _sum(rows, column) / 1e9


def _gain(summary: Summary, arm: str, answered: int) -> tuple[float | None, str]:
    loss = summary.arms[arm].loss
    if loss.improvement is None or not math.isfinite(loss.improvement):
        return None, "no gain is known"
    if loss.interval is None:
        return None, f"gain {number(loss.improvement)}, one seed: not settled"
    low, high = loss.interval
    words = f"gain {number(loss.improvement)} ({number(low)} to {number(high)})"
    if loss.improvement <= 0:
        return None, f"{words}: not positive"
    if low <= 0:
        return None, f"{words}: not settled"
    return loss.improvement * len(loss.per_seed) / answered, words


def findings(found: BreakEven) -> str:
    """What the chart comes to, for its caption: every arm's gap, and where a break-even does not exist."""
    said = []
    for one in found.quantum:
        text = f"{one.arm}: a call costs as much as {span(one.worth_s(found.prices))} of a classical solver"
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
    arms = [one.arm for one in found.quantum if found.factor(one) is None]
    if not arms:
        return []
    told = "any of them" if len(arms) == len(found.quantum) else ", ".join(arms)
    return [
        f"Per unit of loss there is no break-even for {told}: its gain or {CONTROL}'s is not settled above "
        "0; the heavy line is for the same answer"
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
                Cell(one.arm, one.gain_words),
                f"{one.calls:,}",
                span(one.blocked_s),
                span(one.billed_s(one.blocked_s)) if asks else NOTHING,
                number(one.cost(at)),
                span(one.worth_s(at)),
                *(_needed(found, one) if asks else (NOTHING, NOTHING)),
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
    return plain(f"Cost of an answered call, at {at.words}", head, rows)


def _needed(found: BreakEven, one: Asked) -> tuple[Cell, Cell]:
    """The price and the round trip that would do, the other one left as it is."""
    if found.classical is None:
        return Cell(NOTHING), Cell(NOTHING)
    factor = found.factor(one)
    classical_s = found.classical.blocked_s * (1.0 if factor is None else factor)
    note = "same answer" if factor is None else "same cost per unit of loss"
    price = one.price(classical_s, one.blocked_s, found.prices)
    trip = one.round_trip(classical_s, found.prices.qpu_second, found.prices)
    return (
        Cell(number(price), note) if price > 0 else Cell("none", "round trip too long"),
        Cell(span(trip), note) if trip > 0 else Cell("none", "price too high"),
    )
