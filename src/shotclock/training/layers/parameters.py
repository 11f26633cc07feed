"""Adds deltas to a torch model, permanently or for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from shotclock.domain.delta import Delta
from shotclock.domain.errors import DeltaError, SettingsError
from shotclock.domain.plural import with_article


@dataclass(frozen=True, slots=True, eq=False)
class ParameterChange:
    """How far entries of a parameter moved: flat row-major `indices` and `by`, both of shape (k,)."""

    parameter: Tensor
    indices: Tensor
    by: Tensor


def check_model(model: object) -> None:
    """Raises SettingsError on what is not a torch model."""
    if not isinstance(model, nn.Module):
        raise SettingsError(f"model: must be a torch.nn.Module (got {with_article(type(model).__name__)})")


@torch.no_grad()
def add(model: nn.Module, delta: Delta) -> ParameterChange:
    """Adds the delta's values to its parameter, on the parameter's device, in any memory format.

    Raises DeltaError, and changes nothing, if the model has no such entries or their dtype cannot hold the
    sum.
    """
    place = _place(model, delta)
    before, after = place.read(), _sum(place, delta)
    place.write(after)
    indices = torch.from_numpy(delta.indices).to(before.device)
    return ParameterChange(model.get_parameter(delta.parameter), indices, after - before)


@contextmanager
def apply_temporarily(model: nn.Module, delta: Delta) -> Iterator[None]:
    """Adds the delta for the length of the block, then restores the parameter bit for bit."""
    place = _place(model, delta)
    before = place.read()
    add(model, delta)
    try:
        yield
    finally:
        place.write(before)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Puts the model in evaluation mode, so that a pass updates no statistics and draws no random numbers."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def check_attachable(model: nn.Module) -> None:
    """Raises SettingsError naming the first parameter, if any, that rules out calls for this model."""
    for name, value in model.named_parameters():
        if reason := _reason_unattachable(value):
            raise SettingsError(f"attach: parameter '{name}' {reason}")


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """Entries of a parameter: `tensor[at]`, shape (k,)."""

    tensor: Tensor
    at: tuple[Tensor, ...]

    def read(self) -> Tensor:
        """A copy of the entries."""
        return self.tensor[self.at].clone()

    def write(self, entries: Tensor) -> None:
        """Replaces the entries."""
        self.tensor[self.at] = entries


def _place(model: nn.Module, delta: Delta) -> _Place:
    """The entries that the delta changes; raises DeltaError if the model does not have them."""
    try:
        parameter = model.get_parameter(delta.parameter)
    except AttributeError as error:
        raise DeltaError("parameter", f"'{delta.parameter}' is not a parameter of the model") from error
    if reason := _reason_unwritable(parameter):
        raise DeltaError("parameter", f"'{delta.parameter}' {reason}")
    tensor = parameter.detach()
    if len(delta.indices) and int(delta.indices.max()) >= tensor.numel():
        raise DeltaError(
            "indices",
            f"must be below {tensor.numel()}, the entries of '{delta.parameter}' "
            f"(got {int(delta.indices.max())})",
        )
    indices = torch.from_numpy(delta.indices).to(tensor.device)
    if tensor.is_contiguous():
        return _Place(tensor.view(-1), (indices,))
    # A channels_last or transposed tensor has no flat view, but its coordinates can be indexed.
    return _Place(tensor, torch.unravel_index(indices, tensor.shape))


def _sum(place: _Place, delta: Delta) -> Tensor:
    """The entries after the change; raises DeltaError if the parameter's dtype cannot hold them."""
    before, change = place.read(), torch.from_numpy(delta.values)
    dtype = before.dtype
    holds_fractions = dtype.is_floating_point or dtype.is_complex
    if not holds_fractions and not bool((change == change.to(dtype)).all()):
        raise DeltaError("values", f"do not fit '{delta.parameter}', which is {dtype}; give integers")
    # Adding 0 to −0.0 would change its sign.
    after = torch.where(change.to(before) == 0, before, before + change.to(before))
    if not bool((torch.isfinite(after) | ~torch.isfinite(before)).all()):
        raise DeltaError("values", f"overflow '{delta.parameter}', which is {dtype}; scale them down")
    return after


def _reason_unattachable(value: Tensor) -> str:
    """Why no call can be made for a model with this parameter, and what to do; "" if calls can be made."""
    if is_lazy(value):
        return "has no shape yet; run one forward pass first"
    if hasattr(value, "device_mesh") or getattr(value, "_fsdp_flattened", False):
        return (
            "is sharded (fully_shard, FullyShardedDataParallel or tensor parallelism) and a delta is written "
            "to a whole parameter; use DistributedDataParallel, with ZeroRedundancyOptimizer to shard the "
            "optimizer's state"
        )
    if value.is_meta:
        return "is on the meta device and has no values; call model.to_empty and initialize it first"
    return ""


def _reason_unwritable(value: Tensor) -> str:
    """Why no delta can be written to this parameter, and what to do; "" if one can."""
    if reason := _reason_unattachable(value):
        return reason
    if is_traceable_wrapper_subclass(value):
        return (
            f"is a {type(value).__name__}, whose entries cannot be written singly; do not name it in deltas"
        )
    if value.layout is not torch.strided:
        return f"has layout {value.layout}; make it dense"
    if value.is_inference():
        return "was created under torch.inference_mode and cannot be changed; build the model outside of it"
    if any(size > 1 and stride == 0 for size, stride in zip(value.shape, value.stride(), strict=True)):
        return "is an expanded view, whose entries share memory; clone it"
    return ""
