"""Deltas on a torch model: added, or tried and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from shotclock.domain.delta import Delta
from shotclock.domain.errors import RunError


@torch.no_grad()
def add(model: nn.Module, delta: Delta) -> None:
    """Adds the delta's values to its parameter, on the parameter's device."""
    flat, indices = _place(model, delta)
    flat[indices] += torch.from_numpy(delta.values).to(flat)


@contextmanager
def added(model: nn.Module, delta: Delta) -> Iterator[None]:
    """The model with the delta inside the block; bit for bit as it was after it."""
    flat, indices = _place(model, delta)
    kept = flat[indices].clone()
    add(model, delta)
    try:
        yield
    finally:
        flat[indices] = kept


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, so that looking at it moves no statistics and draws no random numbers."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _place(model: nn.Module, delta: Delta) -> tuple[Tensor, Tensor]:
    """The parameter, flat, and the indices on its device; RunError where the model has no such place."""
    try:
        flat = model.get_parameter(delta.parameter).detach().view(-1)
    except AttributeError as error:
        raise RunError(f"delta.parameter: '{delta.parameter}' is no parameter of the model") from error
    indices = torch.from_numpy(delta.indices).to(flat.device)
    if len(indices) and not (int(indices.min()) >= 0 and int(indices.max()) < flat.numel()):
        raise RunError(f"delta.indices: leave '{delta.parameter}', which has {flat.numel()} entries")
    return flat, indices
