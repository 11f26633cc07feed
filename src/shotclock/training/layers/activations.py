"""A layer's inputs, computed on a calibration set or captured from training's forward passes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from shotclock.domain.errors import SettingsError
from shotclock.training.layers.parameters import evaluation_mode


class Activations(Protocol):
    """The inputs of a layer, by the layer's name."""

    def inputs(self, layer: str) -> Tensor:
        """Shape (N, features), on the model's device, for the present model."""


class Calibrated:
    """Computes a layer's inputs by a forward pass over fixed inputs, shape (N, …), on each request.

    model: the trained model, without the wrapper of DDP or torch.compile.
    """

    def __init__(self, model: nn.Module, inputs: Tensor) -> None:
        self._model = model
        self._inputs = inputs

    @torch.no_grad()
    def inputs(self, layer: str) -> Tensor:
        """See `Activations.inputs`; raises SettingsError if a forward pass does not call the layer."""
        inputs: list[Tensor] = []
        hook = self._model.get_submodule(layer).register_forward_pre_hook(
            lambda _module, arguments: inputs.append(arguments[0])
        )
        with hook, evaluation_mode(self._model), _disable_fused_encoder():
            self._model(self._inputs)
        if not inputs:
            raise SettingsError(
                f"layer '{layer}': a forward pass does not call it; pass the model itself, not the result of "
                f"torch.compile"
            )
        return torch.cat([_rows(value) for value in inputs])


class CapturedActivations:
    """The layers' inputs in training's last forward pass: no extra cost, and a new batch each step.

    Passes without gradients (evaluation, probes) are not captured. limit: samples kept per batch.
    """

    def __init__(self, model: nn.Module, layers: Iterable[str], limit: int = 256) -> None:
        self._limit = limit
        self._captured: dict[str, Tensor] = {}
        self._hooks = [self._watch(model.get_submodule(name), name) for name in layers]

    def inputs(self, layer: str) -> Tensor:
        """See `Activations.inputs`; raises SettingsError before training's first forward pass."""
        if layer not in self._captured:
            raise SettingsError(
                f"layer '{layer}': no batch captured yet; train a step first, and call torch.compile only "
                f"after creating CapturedActivations"
            )
        return self._captured[layer]

    def close(self) -> None:
        """Stops capturing."""
        for hook in self._hooks:
            hook.remove()

    def _watch(self, module: nn.Module, name: str) -> RemovableHandle:
        def capture(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            if torch.is_grad_enabled():
                self._captured[name] = _rows(arguments[0].detach())[: self._limit]

        return module.register_forward_pre_hook(capture)


def _rows(inputs: Tensor) -> Tensor:
    """Inputs of shape (…, features) as (N, features); a single sample becomes one row."""
    return inputs.reshape(-1, inputs.shape[-1])


@contextmanager
def _disable_fused_encoder() -> Iterator[None]:
    """Disables the fused kernel of transformer encoders, which in evaluation calls none of their layers."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
