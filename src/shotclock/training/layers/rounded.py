"""Linear layers whose weights are rounded to a grid of few levels.

Row r has levels s_r·{−2^(bits−1), …, 2^(bits−1) − 1}; each weight takes one of the two levels nearest to its
full-precision value, f and f + 1 with f = clip(floor(w/s), lo, hi − 1) (AdaRound, arXiv 2004.10568).
"""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from shotclock.domain.errors import SettingsError

SCALES_TRIED = 80


class RoundedLinear(nn.Module):
    """A linear layer of shape (outputs, inputs), rounded to nearest when it is created.

    The weight stays the same object but is no longer trained; the bias still is.

    reference: the full-precision weights, (outputs, inputs).
    scale: s of each row, (outputs,), of least squared error among 80 candidates.
    """

    reference: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear, bits: int) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.low, self.high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        self.weight = linear.weight
        self.bias = linear.bias
        self.register_buffer("reference", linear.weight.detach().clone())
        self.register_buffer("scale", _best_scale(self.reference, self.low, self.high))
        nearest = torch.clamp(torch.round(self.reference / self.scale[:, None]), self.low, self.high)
        with torch.no_grad():
            self.weight.copy_(nearest * self.scale[:, None])
        self.weight.requires_grad_(False)
        # An old gradient would let momentum and weight decay move the weight off its levels.
        self.weight.grad = None

    def above_floor(self, row: int, columns: Tensor) -> Tensor:
        """Which weights of a row are at the upper of their two levels, (n,) of 0 and 1."""
        scale = self.scale[row]
        floor = torch.clamp(torch.floor(self.reference[row, columns] / scale), self.low, self.high - 1)
        return torch.round(self.weight.detach()[row, columns] / scale) - floor

    def steps_to_other_level(self) -> Tensor:
        """The change of each weight that takes it to the other of its two levels: ±s, (outputs, inputs)."""
        scale = self.scale[:, None]
        floor = torch.clamp(torch.floor(self.reference / scale), self.low, self.high - 1)
        above = torch.round(self.weight.detach() / scale) - floor
        return (1.0 - 2.0 * above) * scale

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs) → (batch, outputs)."""
        return nn.functional.linear(x, self.weight, self.bias)


def round_layers(model: nn.Module, bits: int = 2) -> None:
    """Rounds every nn.Linear of a model but the first, in place.

    The first layer, which receives the data, stays in full precision, as is usual (arXiv 1605.04711 and
    others); so do the projections of nn.MultiheadAttention, which uses their weights without calling them.
    Raises SettingsError, and changes nothing, on a model with fewer than two such layers, or a layer whose
    weight is not its own parameter (parametrized, tied, lazy, sharded).
    """
    layers = {name: module for name, module in model.named_modules() if _is_roundable(module)}
    if len(layers) < 2:
        raise SettingsError(
            f"kernel.name: 'rounding' needs a model with at least two nn.Linear layers (got {len(layers)})"
        )
    if bits < 2:
        raise SettingsError(f"bits: must be at least 2, since one bit has no level to round to (got {bits})")
    rounded = list(layers)[1:]
    names = _names_by_parameter(model)
    for name in rounded:
        _check_roundable(name, layers[name], names)
    for name in rounded:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, RoundedLinear(layers[name], bits))


def _is_roundable(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether it is a linear layer that is called: attention uses the weight of its projection uncalled."""
    return isinstance(module, nn.Linear) and not isinstance(module, NonDynamicallyQuantizableLinear)


def _names_by_parameter(model: nn.Module) -> dict[int, list[str]]:
    """Every name of each parameter, by identity; more than one if it is tied."""
    names: dict[int, list[str]] = {}
    for name, value in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(value), []).append(name)
    return names


def _check_roundable(name: str, layer: nn.Linear, names: dict[int, list[str]]) -> None:
    weight = layer.weight
    if not isinstance(weight, nn.Parameter) or not isinstance(layer.bias, nn.Parameter | None):
        raise SettingsError(
            f"round_layers: layer '{name}' computes its weight from others (weight_norm, spectral_norm, "
            f"pruning); make it a parameter first: torch.nn.utils.parametrize.remove_parametrizations(layer, "
            f"'weight'), or the remove function of the old API"
        )
    if is_lazy(weight):
        raise SettingsError(f"round_layers: layer '{name}' has no shape yet; run one forward pass first")
    if is_traceable_wrapper_subclass(weight):
        raise SettingsError(
            f"round_layers: layer '{name}' has a {type(weight).__name__} as weight; round it before "
            f"sharding or quantizing the model"
        )
    if not weight.is_floating_point() or weight.is_meta:
        raise SettingsError(
            f"round_layers: layer '{name}' must hold real numbers (got {weight.dtype} on {weight.device})"
        )
    if others := [other for other in names[id(weight)] if other != f"{name}.weight"]:
        raise SettingsError(
            f"round_layers: layer '{name}' shares its weight with '{others[0]}', which would be rounded too; "
            f"give it a separate weight"
        )


def _best_scale(weight: Tensor, low: int, high: int) -> Tensor:
    """Each row's scale of least squared error, shape (outputs,); a row of zeros gets 1."""
    largest = weight.abs().amax(dim=1)
    largest = torch.where(largest > 0, largest, 1.0)
    shares = torch.linspace(0.2, 1.0, SCALES_TRIED, device=weight.device)
    best, least = largest.clone(), torch.full_like(largest, torch.inf)
    for share in shares:
        scale = share * largest
        rounded = torch.clamp(torch.round(weight / scale[:, None]), low, high) * scale[:, None]
        error = ((rounded - weight) ** 2).sum(dim=1)
        best = torch.where(error < least, scale, best)
        least = torch.minimum(error, least)
    return best
