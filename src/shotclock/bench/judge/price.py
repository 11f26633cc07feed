"""What an arm's improvement on classical-only costs; without a price, the reason."""

from __future__ import annotations

from shotclock.bench.numbers import number
from shotclock.bench.record.arm_runs import BASELINE
from shotclock.bench.schema import ArmSummary


def explain_no_price(name: str, arm: ArmSummary) -> str:
    """Why an arm's improvement has no price; "" if it has one."""
    if arm.cost.money_per_loss is not None and arm.cost.compute_h_per_loss is not None:
        return ""
    if name == BASELINE:
        return "the baseline"
    if arm.loss.improvement is None:
        return f"no loss of {BASELINE} to compare with"
    return "no improvement measured"


def describe_price(name: str, arm: ArmSummary) -> str:
    """The price of a unit of loss in compute hours and money, or why it has no price."""
    cost = arm.cost
    if cost.money_per_loss is None or cost.compute_h_per_loss is None:
        return f"cost per improvement: {explain_no_price(name, arm)}"
    return (
        f"a unit of loss costs {number(cost.compute_h_per_loss)} compute h and {number(cost.money_per_loss)} "
        f"{cost.currency} beyond {BASELINE}"
    )
