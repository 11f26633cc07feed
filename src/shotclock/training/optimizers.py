"""What stands between a loop and torch's optimizer: wrappers around it, and steps that train nothing."""

from __future__ import annotations

from weakref import WeakSet

import torch
from torch import Tensor
from torch.optim import Optimizer

from shotclock.domain.errors import SettingsError

ATTACHED: WeakSet[Optimizer] = WeakSet()
"""The optimizers that have Shotclock's hooks. A copy of one, or one that was pickled, has none of them."""


def find_hookable(optimizer: object) -> Optimizer:
    """The optimizer itself, or the one that a wrapper keeps as `optimizer` (accelerate, Lightning).

    A wrapper that is an Optimizer in its own right, such as ZeroRedundancyOptimizer, is taken as it is: its
    step ends after the inner one's. Raises SettingsError where there is no Optimizer of torch.
    """
    seen: list[object] = []
    found = optimizer
    while not (isinstance(found, Optimizer) and _has_hooks(found)):
        seen.append(found)
        inner = getattr(found, "optimizer", None)
        if inner is None or any(inner is one for one in seen):
            raise SettingsError(
                f"attach: {type(optimizer).__name__} is no torch.optim.Optimizer and has none as its "
                f"attribute 'optimizer'; pass the torch optimizer that it steps"
            )
        found = inner
    return found


def _has_hooks(found: Optimizer) -> bool:
    """Whether Optimizer.__init__ ran: accelerate's wrapper and many a Lookahead inherit and never call it."""
    return {"_optimizer_step_post_hooks", "_optimizer_state_dict_post_hooks"} <= vars(found).keys()


@torch.no_grad()
def is_dry_step(optimizer: Optimizer) -> bool:
    """Whether the step just made was one that trains nothing: every rate is 0, every gradient made and 0.

    torch.distributed.checkpoint takes such a step to make an optimizer fill its state, and may take it on one
    rank alone, so it must not count as a boundary at which the ranks meet.
    """
    groups = optimizer.param_groups
    if not all(_is_zero_rate(group.get("lr")) for group in groups):
        return False
    trained = [one for group in groups for one in group["params"] if one.requires_grad]
    return bool(trained) and all(one.grad is not None and not _has_entries(one.grad) for one in trained)


def _is_zero_rate(rate: object) -> bool:
    """A rate on an accelerator is not read: that would wait for the device at every step."""
    if isinstance(rate, Tensor):
        return rate.device.type == "cpu" and not bool(rate.any())
    return rate == 0.0


def _has_entries(gradient: Tensor) -> bool:
    """Whether a gradient, sparse or dense, has an entry that is not 0."""
    values = gradient.coalesce().values() if gradient.is_sparse else gradient
    return bool(values.any())
