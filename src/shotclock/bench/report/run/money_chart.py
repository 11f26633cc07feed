"""The loss against money, drawn; what was spent: `bench.judge.money`."""

from __future__ import annotations

from collections.abc import Sequence

from shotclock.bench.analysis import LossCurve, LossPoint, SecondPrices
from shotclock.bench.numbers import money, number
from shotclock.bench.report.kit.arm_styles import Look
from shotclock.bench.report.kit.compose import Composed
from shotclock.bench.report.kit.grid import Cell, Grid
from shotclock.bench.report.kit.panel import Panel, draw, with_title
from shotclock.bench.report.run.break_even_table import word_prices
from shotclock.bench.report.run.loss_axes import course_grid, curve, loss_axis, make_spending_axis

_WIDTH, _HEIGHT = 600, 300


def draw_loss_against_money(
    losses: Sequence[LossCurve], at: SecondPrices, faces: dict[str, Look], subtitle: Sequence[str]
) -> Composed:
    """The loss against the money spent; the arms' names include their final cost."""
    x, place = make_spending_axis(losses, f"money that one run had cost, {at.currency}")
    curves = tuple(curve(each, place, x, _WIDTH, _label(each, at.currency), band=True) for each in losses)
    panel = Panel(curves, x, loss_axis(losses), _WIDTH, _HEIGHT, "", stepped=False)
    return with_title(draw(panel, faces), "Held-out loss against money", [*subtitle, f"at {word_prices(at)}"])


def _label(course: LossCurve, currency: str) -> str:
    return f"{course.arm}  ({money(course.points[-1].spent, currency)})"


def money_grid(curves: Sequence[LossCurve], currency: str) -> Grid:
    """Money and loss after some of the evaluated steps."""

    def cell(point: LossPoint) -> Cell:
        return Cell(number(point.spent), f"loss {number(point.mean)}")

    return course_grid(curves, f"Money spent by one run after a step, {currency}, and the loss then", cell)
