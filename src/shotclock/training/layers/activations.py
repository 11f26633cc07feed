"""What a layer sees: computed on a calibration set, or caught as training passes by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from shotclock.domain.errors import SettingsError
from shotclock.training.layers.parameters import evaluating


class Activations(Protocol):
    """The inputs of a layer, by the layer's name."""

    def inputs(self, layer: str) -> Tensor:
        """Shape (N, features), on the model's device, of the model as it is now."""


class Calibrated:
    """A forward pass over the same inputs, shape (N, …), every time it is asked.

    model: the one that is trained, without the wrapper of DDP or torch.compile.
    """

    def __init__(self, model: nn.Module, inputs: Tensor) -> None:
        self._model = model
        self._inputs = inputs

    @torch.no_grad()
    def inputs(self, layer: str) -> Tensor:
        """See `Activations.inputs`; SettingsError where a forward pass shows the layer nothing."""
        seen: list[Tensor] = []
        hook = self._model.get_submodule(layer).register_forward_pre_hook(
            lambda _module, arguments: seen.append(arguments[0])
        )
        with hook, evaluating(self._model), _calling_every_layer():
            self._model(self._inputs)
        if not seen:
            raise SettingsError(
                f"layer '{layer}': a forward pass shows it nothing; pass the model itself, not what "
                f"torch.compile made of it"
            )
        return torch.cat([_rows(one) for one in seen])


class Caught:
    """What training's last forward pass showed the layer: costs nothing, and moves with the batches.

    Passes without gradients (evaluation, probes) are not caught. limit: samples kept of a batch.
    """

    def __init__(self, model: nn.Module, layers: Iterable[str], limit: int = 256) -> None:
        self._limit = limit
        self._seen: dict[str, Tensor] = {}
        self._hooks = [self._watch(model.get_submodule(name), name) for name in layers]

    def inputs(self, layer: str) -> Tensor:
        """See `Activations.inputs`; SettingsError before training's first forward pass."""
        if layer not in self._seen:
            raise SettingsError(
                f"layer '{layer}': has seen no batch yet; train a step before asking, and compile "
                f"a model after this was made"
            )
        return self._seen[layer]

    def close(self) -> None:
        """Stops watching."""
        for hook in self._hooks:
            hook.remove()

    def _watch(self, module: nn.Module, name: str) -> RemovableHandle:
        def catch(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            if torch.is_grad_enabled():
                self._seen[name] = _rows(arguments[0].detach())[: self._limit]

        return module.register_forward_pre_hook(catch)


def _rows(inputs: Tensor) -> Tensor:
    """Shape (…, features) as (N, features); one sample without a batch is one row."""
    return inputs.reshape(-1, inputs.shape[-1])


@contextmanager
def _calling_every_layer() -> Iterator[None]:
    """Without the fused kernel of transformer encoders, which in evaluation calls none of their layers."""
    held = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(held)
