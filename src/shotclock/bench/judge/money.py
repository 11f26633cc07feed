"""The arms' spending during training, from the summary's prices and the rows' consumption."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from shotclock.bench.analysis import LossCurve, SecondPrices
from shotclock.bench.judge.loss_curves import make_curves
from shotclock.bench.schema import Summary


def find_prices(summary: Summary) -> SecondPrices | None:
    """The settings' prices, one set for all arms; None in a summary that does not hold them."""
    for arm in summary.arms.values():
        if (prices := arm.cost.prices) is not None:
            return SecondPrices(
                currency=arm.cost.currency, gpu_second=prices.gpu_hour / 3600, qpu_second=prices.qpu_second
            )
    return None


def is_billed_by_wall(summary: Summary, arm: str) -> bool:
    """Whether the QPU is billed by the wall clock (a session) instead of by its jobs' usage."""
    return summary.arms[arm].cost.qpu_idle_s is not None


def curve_against_money(summary: Summary, table: pa.Table, at: SecondPrices) -> tuple[LossCurve, ...]:
    """The loss of every evaluated arm against the money spent, mean over seeds."""
    return make_curves(summary.arms, _evaluate(summary, table, at))


def _evaluate(
    summary: Summary, table: pa.Table, at: SecondPrices
) -> Iterator[tuple[str, int, int, float, float]]:
    """(arm, seed, step, money until then, loss) of every evaluated step."""
    rows = table.sort_by([("seed", "ascending"), ("step", "ascending")])
    columns = ("arm", "seed", "step", "total_iteration_time_ns", "qpu_s", "eval_loss")
    sessions = {arm for arm in summary.arms if is_billed_by_wall(summary, arm)}
    money: dict[tuple[str, int], float] = {}
    for arm, seed, step, took, qpu_s, loss in zip(*(rows[name].to_pylist() for name in columns), strict=True):
        billed_s = took / 1e9 if arm in sessions else qpu_s or 0.0
        spent = took / 1e9 * at.gpu_second + billed_s * at.qpu_second
        money[arm, seed] = money.get((arm, seed), 0.0) + spent
        if loss is not None:
            yield arm, seed, step, money[arm, seed], loss
