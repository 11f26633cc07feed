"""What a run's arms spent while they learnt, from the summary's prices and the rows' consumption."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from shotclock.bench.judge.loss_curves import make_curves
from shotclock.bench.schema import LossCurve, SecondPrices, Summary


def find_prices(summary: Summary) -> SecondPrices | None:
    """The settings' prices, one set for all arms; None in a summary that does not hold them."""
    for arm in summary.arms.values():
        if (prices := arm.cost.prices) is not None:
            return SecondPrices(
                currency=arm.cost.currency, gpu_second=prices.gpu_hour / 3600, qpu_second=prices.qpu_second
            )
    return None


def is_billed_by_wall(summary: Summary, arm: str) -> bool:
    """Whether the QPU is billed while the arm runs (a session), and not for what its jobs held it."""
    return summary.arms[arm].cost.qpu_idle_s is not None


def curve_against_money(summary: Summary, table: pa.Table, at: SecondPrices) -> tuple[LossCurve, ...]:
    """A curve for every arm that was evaluated at least once, over what one seed's run had cost."""
    return make_curves(summary.arms, _evaluate(summary, table, at))


def _evaluate(
    summary: Summary, table: pa.Table, at: SecondPrices
) -> Iterator[tuple[str, int, int, float, float]]:
    """(arm, seed, step, money until then, loss) of every evaluated step."""
    rows = table.sort_by([("seed", "ascending"), ("step", "ascending")])
    columns = ("arm", "seed", "step", "total_iteration_time_ns", "qpu_s", "eval_loss")
    sessions = {arm for arm in summary.arms if is_billed_by_wall(summary, arm)}
    money: dict[tuple[str, int], float] = {}
    for arm, seed, step, took, held, loss in zip(*(rows[name].to_pylist() for name in columns), strict=True):
        billed_s = took / 1e9 if arm in sessions else held or 0.0
        spent = took / 1e9 * at.gpu_second + billed_s * at.qpu_second
        money[arm, seed] = money.get((arm, seed), 0.0) + spent
        if loss is not None:
            yield arm, seed, step, money[arm, seed], loss
