"""What a run's arms spent while they learnt, from the summary's cost and the rows' consumption.

A run's money is compute_h × (price of a GPU hour) + qpu_s × (price of a QPU second): `bench.figures.cost`.
The summary gives the three figures of every arm, so its prices are what solves these equations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shotclock.bench.report.axes import LOG_FROM_RATIO, about_all, linear, logarithmic
from shotclock.bench.report.grid import Cell, Grid, plain
from shotclock.bench.report.lines import Axis, Composed, Curve, Panel, draw, dressed
from shotclock.bench.report.looks import Look
from shotclock.bench.report.words import NOTHING, number
from shotclock.bench.schema import Summary

_RANK_TOLERANCE = 1e-9
_ROWS = 12


@dataclass(frozen=True, slots=True)
class Prices:
    """Of an accelerator's second and of a QPU's; the QPU's is 0 where no arm used one."""

    currency: str
    gpu_second: float
    qpu_second: float

    @property
    def words(self) -> str:
        """What stands under a chart."""
        return (
            f"{number(3600 * self.gpu_second)} {self.currency} a GPU hour, "
            f"{number(self.qpu_second)} {self.currency} a QPU second"
        )


@dataclass(frozen=True, slots=True)
class Spent:
    """After one step: money of one seed's run so far, mean over seeds, and the loss it bought."""

    step: int
    money: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Bill:
    """An arm's evaluations in order, over `seeds` seeds."""

    arm: str
    seeds: int
    points: tuple[Spent, ...]


def prices(summary: Summary) -> Prices | None:
    """The prices the costs were reckoned with; None where too few different arms leave them open.

    One arm with both kinds of consumption is one equation of two unknowns.
    """
    costs = [arm.cost for arm in summary.arms.values()]
    used = np.array([(3600 * cost.compute_h, cost.qpu_s) for cost in costs]).reshape(-1, 2)
    scale = used.max(axis=0, initial=0.0)
    kinds = np.flatnonzero(scale)
    if len(kinds) == 0 or scale[0] == 0:
        return None
    relative = used[:, kinds] / scale[kinds]
    if np.linalg.matrix_rank(relative, tol=_RANK_TOLERANCE) < len(kinds):
        return None
    found, *_ = np.linalg.lstsq(relative, np.array([cost.money for cost in costs]), rcond=None)
    each = dict(zip(kinds.tolist(), (found / scale[kinds]).tolist(), strict=True))
    return Prices(costs[0].currency, _price(each.get(0, 0.0)), _price(each.get(1, 0.0)))


def _price(solved: float) -> float:
    """Prices are written with few digits: what the arithmetic left behind them goes."""
    return max(0.0, float(f"{solved:.9g}"))


def by_the_wall(summary: Summary, arm: str) -> bool:
    """Whether the QPU is billed while the arm runs (a session), and not for what its jobs held it."""
    return summary.arms[arm].cost.qpu_idle_s is not None


def bills(summary: Summary, table: pa.Table, found: Prices) -> list[Bill]:
    """A bill for every arm that was evaluated at least once; a loss that diverged to NaN ends it."""
    made = []
    for arm in summary.arms:
        rows = table.filter(pc.equal(table["arm"], arm)).sort_by(
            [("seed", "ascending"), ("step", "ascending")]
        )
        points = _points(rows, found, session=by_the_wall(summary, arm))
        if points:
            made.append(Bill(arm, len(set(rows["seed"].to_pylist())), points))
    return made


def _points(rows: pa.Table, found: Prices, *, session: bool) -> tuple[Spent, ...]:
    columns = ("seed", "step", "total_iteration_time_ns", "qpu_s", "eval_loss")
    money: dict[int, float] = {}
    by_step: dict[int, list[tuple[float, float]]] = {}
    for seed, step, took, held, loss in zip(*(rows[name].to_pylist() for name in columns), strict=True):
        billed_s = took / 1e9 if session else held or 0.0
        spent = took / 1e9 * found.gpu_second + billed_s * found.qpu_second
        money[seed] = money.get(seed, 0.0) + spent
        if loss is not None and math.isfinite(loss):
            by_step.setdefault(step, []).append((money[seed], loss))
    return tuple(
        Spent(
            step,
            sum(at for at, _ in values) / len(values),
            sum(loss for _, loss in values) / len(values),
            min(loss for _, loss in values),
            max(loss for _, loss in values),
        )
        for step, values in sorted(by_step.items())
    )


def loss_against_money(
    found: list[Bill], at: Prices, faces: dict[str, Look], subtitle: Sequence[str]
) -> Composed:
    """The loss by what one run had cost until then; the arms' names tell what they cost in the end."""
    values = [value for bill in found for point in bill.points for value in (point.low, point.high)]
    y = linear(*about_all(values, 0.04), 6, "held-out loss")
    x, log = _money_axis(found, at.currency)
    curves = tuple(_curve(bill, at.currency, log=log) for bill in found)
    panel = Panel(curves, x, y, 600, 300, "", stepped=False)
    return dressed(draw(panel, faces), "Held-out loss against money", [*subtitle, f"at {at.words}"])


def _money_axis(found: list[Bill], currency: str) -> tuple[Axis, bool]:
    ends = [bill.points[-1].money for bill in found]
    first = min(bill.points[0].money for bill in found)
    title = f"money that one run had cost, {currency}"
    if first <= 0 or max(ends) < LOG_FROM_RATIO * min(ends):
        return linear(0.0, max(ends) or 1.0, 6, title), False
    return logarithmic(first, max(ends), f"{title}, log scale"), True


def _curve(bill: Bill, currency: str, *, log: bool) -> Curve:
    def x(point: Spent) -> float:
        return math.log10(point.money) if log else point.money

    points = tuple((x(point), point.mean) for point in bill.points)
    band = tuple((x(point), point.low, point.high) for point in bill.points) if bill.seeds > 1 else ()
    every = max(1, len(points) // 4)
    label = f"{bill.arm}  ({number(bill.points[-1].money)} {currency})"
    return Curve(bill.arm, points, points[::-every][::-1], label, band)


def money_grid(found: list[Bill], currency: str) -> Grid:
    """Money and loss after some of the evaluated steps."""
    steps = sorted({point.step for bill in found for point in bill.points})
    every = -(-len(steps) // _ROWS)
    rows: list[tuple[str | Cell, ...]] = []
    for step in steps[::-every][::-1]:
        cells = []
        for bill in found:
            point = next((point for point in bill.points if point.step == step), None)
            words = Cell(number(point.money), f"loss {number(point.mean)}") if point else Cell(NOTHING)
            cells.append(words)
        rows.append((f"{step:,}", *cells))
    head = ("step", *(bill.arm for bill in found))
    return plain(f"Money spent by one run after a step, {currency}, and the loss then", head, rows, even=True)
