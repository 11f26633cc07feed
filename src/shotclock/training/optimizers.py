"""Recognises wrappers around torch's optimizers, and optimizer steps that train nothing."""

from __future__ import annotations

import sys
from types import FrameType
from weakref import WeakSet

import torch
from torch import Tensor
from torch.optim import Optimizer

from shotclock.domain.errors import SettingsError

ATTACHED: WeakSet[Optimizer] = WeakSet()
"""The optimizers that have Shotclock's hooks. Copies and unpickled optimizers have lost them."""

_HOOKED_STEP = Optimizer.profile_hook_step(Optimizer.step).__code__
"""The code of the function by which torch replaces every optimizer's `step`, so that it calls the hooks."""


def find_hookable(optimizer: object) -> Optimizer:
    """The optimizer itself, or the one that a wrapper keeps as `optimizer` (accelerate, Lightning).

    A wrapper that is itself an Optimizer, such as ZeroRedundancyOptimizer, is returned unchanged: its step
    ends after the inner one's. Raises SettingsError if no torch Optimizer is found.
    """
    visited: list[object] = []
    candidate = optimizer
    while not (isinstance(candidate, Optimizer) and _has_hooks(candidate)):
        visited.append(candidate)
        inner = getattr(candidate, "optimizer", None)
        if inner is None or any(inner is wrapper for wrapper in visited):
            raise SettingsError(
                f"attach: {type(optimizer).__name__} is not a torch.optim.Optimizer and has none as its "
                f"attribute 'optimizer'; pass the torch optimizer that it steps"
            )
        candidate = inner
    return candidate


def _has_hooks(optimizer: Optimizer) -> bool:
    """Whether Optimizer.__init__ ran: accelerate's wrapper and many a Lookahead inherit and never call it."""
    return {"_optimizer_step_post_hooks", "_optimizer_state_dict_post_hooks"} <= vars(optimizer).keys()


def is_inner_step(optimizer: Optimizer) -> bool:
    """Whether the step that calls this hook was called by a step of the same optimizer.

    A subclass that calls `super().step()` has two hooked steps, and torch calls the hooks after each. The
    stack is read because a count of steps begun would stay wrong after one that raised.
    """
    hooked = 0
    frame: FrameType | None = sys._getframe()
    while frame is not None and hooked < 2:
        hooked += frame.f_code is _HOOKED_STEP and frame.f_locals.get("self") is optimizer
        frame = frame.f_back
    return hooked > 1


@torch.no_grad()
def is_dry_step(optimizer: Optimizer) -> bool:
    """Whether the last step trained nothing: every rate is 0, and every gradient exists and is 0.

    torch.distributed.checkpoint makes such a step so that the optimizer fills its state, possibly on one rank
    only, so it must not count as a boundary at which the ranks synchronise.
    """
    groups = optimizer.param_groups
    if not all(_is_zero_rate(group.get("lr")) for group in groups):
        return False
    trained = [parameter for group in groups for parameter in group["params"] if parameter.requires_grad]
    gradients = [parameter.grad for parameter in trained]
    return bool(trained) and all(grad is not None and not _has_entries(grad) for grad in gradients)


def _is_zero_rate(rate: object) -> bool:
    """Whether the rate is 0. A rate on an accelerator is not read, which would wait for the device."""
    if isinstance(rate, Tensor):
        return rate.device.type == "cpu" and not bool(rate.any())
    return rate == 0.0


def _has_entries(gradient: Tensor) -> bool:
    """Whether a gradient, sparse or dense, has an entry that is not 0."""
    values = gradient.coalesce().values() if gradient.is_sparse else gradient
    return bool(values.any())
