"""What a run's arms spent while they learnt, from the summary's prices and the rows' consumption."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from shotclock.bench.numbers import number
from shotclock.bench.report.courses import Course, Point, course_grid, courses, curve, loss_axis, spent_axis
from shotclock.bench.report.grid import Cell, Grid
from shotclock.bench.report.lines import Composed, Panel, draw, dressed
from shotclock.bench.report.looks import Look
from shotclock.bench.schema import Summary

_WIDTH, _HEIGHT = 600, 300


@dataclass(frozen=True, slots=True)
class Prices:
    """Of an accelerator's second and of a QPU's."""

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


def prices(summary: Summary) -> Prices | None:
    """The settings' prices, one set for all arms; None in a summary from before they were told."""
    for arm in summary.arms.values():
        if (told := arm.cost.prices) is not None:
            return Prices(arm.cost.currency, told.gpu_hour / 3600, told.qpu_second)
    return None


def by_the_wall(summary: Summary, arm: str) -> bool:
    """Whether the QPU is billed while the arm runs (a session), and not for what its jobs held it."""
    return summary.arms[arm].cost.qpu_idle_s is not None


def against_money(summary: Summary, table: pa.Table, at: Prices) -> list[Course]:
    """A course for every arm that was evaluated at least once, over what one seed's run had cost."""
    return courses(summary.arms, _evaluations(summary, table, at))


def _evaluations(
    summary: Summary, table: pa.Table, at: Prices
) -> Iterator[tuple[str, int, int, float, float]]:
    """(arm, seed, step, money until then, loss) of every evaluated step."""
    rows = table.sort_by([("seed", "ascending"), ("step", "ascending")])
    columns = ("arm", "seed", "step", "total_iteration_time_ns", "qpu_s", "eval_loss")
    sessions = {arm for arm in summary.arms if by_the_wall(summary, arm)}
    money: dict[tuple[str, int], float] = {}
    for arm, seed, step, took, held, loss in zip(*(rows[name].to_pylist() for name in columns), strict=True):
        billed_s = took / 1e9 if arm in sessions else held or 0.0
        spent = took / 1e9 * at.gpu_second + billed_s * at.qpu_second
        money[arm, seed] = money.get((arm, seed), 0.0) + spent
        if loss is not None:
            yield arm, seed, step, money[arm, seed], loss


def loss_against_money(
    found: list[Course], at: Prices, faces: dict[str, Look], subtitle: Sequence[str]
) -> Composed:
    """The loss by what one run had cost until then; the arms' names tell what they cost in the end."""
    x, place = spent_axis(found, f"money that one run had cost, {at.currency}")
    curves = tuple(curve(each, place, x, _WIDTH, _label(each, at.currency), band=True) for each in found)
    panel = Panel(curves, x, loss_axis(found), _WIDTH, _HEIGHT, "", stepped=False)
    return dressed(draw(panel, faces), "Held-out loss against money", [*subtitle, f"at {at.words}"])


def _label(course: Course, currency: str) -> str:
    return f"{course.arm}  ({number(course.points[-1].spent)} {currency})"


def money_grid(found: list[Course], currency: str) -> Grid:
    """Money and loss after some of the evaluated steps."""

    def cell(point: Point) -> Cell:
        return Cell(number(point.spent), f"loss {number(point.mean)}")

    return course_grid(found, f"Money spent by one run after a step, {currency}, and the loss then", cell)
