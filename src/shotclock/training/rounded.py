"""Linear layers held on a grid of few levels, beside the weights they stand for.

Row r has levels s_r·{−2^(bits−1), …, 2^(bits−1) − 1}; each weight may stand at one of the two nearest its
full-precision value, f and f + 1 with f = clip(floor(w/s), lo, hi − 1) (AdaRound, arXiv 2004.10568).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shotclock.domain.errors import SettingsError

SCALES_TRIED = 80


class RoundedLinear(nn.Module):
    """A linear layer of shape (outputs, inputs), rounded to nearest when it is made.

    weight keeps its identity but leaves training; the bias trains on. reference: the full-precision
    weights, (outputs, inputs); scale: s of each row, (outputs,), by squared error over 80 candidates.
    """

    reference: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear, bits: int) -> None:
        super().__init__()
        self.low, self.high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        self.weight = linear.weight
        self.bias = linear.bias
        self.register_buffer("reference", linear.weight.detach().clone())
        self.register_buffer("scale", _best_scale(self.reference, self.low, self.high))
        nearest = torch.clamp(torch.round(self.reference / self.scale[:, None]), self.low, self.high)
        with torch.no_grad():
            self.weight.copy_(nearest * self.scale[:, None])
        self.weight.requires_grad_(False)
        # a gradient left from before would let momentum and weight decay move it off its levels
        self.weight.grad = None

    def above_floor(self, row: int, columns: Tensor) -> Tensor:
        """Which weights of a row stand at the upper of their two levels, (n,) of 0 and 1."""
        scale = self.scale[row]
        floor = torch.clamp(torch.floor(self.reference[row, columns] / scale), self.low, self.high - 1)
        return torch.round(self.weight.detach()[row, columns] / scale) - floor

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs) → (batch, outputs)."""
        return nn.functional.linear(x, self.weight, self.bias)


def round_layers(model: nn.Module, bits: int = 2) -> None:
    """Rounds every nn.Linear of a model but the first, in place.

    The first sees the data itself and stays in full precision, as is usual (arXiv 1605.04711 and others).
    Raises SettingsError on a model that has no second one.
    """
    found = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if len(found) < 2:
        raise SettingsError(
            f"kernel.name: 'rounding' needs a model of two nn.Linear layers; it has {len(found)}"
        )
    if bits < 2:
        raise SettingsError(f"bits: {bits}, wants at least 2; a sign alone has no level to round to")
    for name in found[1:]:
        parent, _, child = name.rpartition(".")
        linear = model.get_submodule(name)
        if isinstance(linear, nn.Linear):
            setattr(model.get_submodule(parent), child, RoundedLinear(linear, bits))


def _best_scale(weight: Tensor, low: int, high: int) -> Tensor:
    """Each row's scale of least squared error, shape (outputs,); a row of zeros gets 1."""
    largest = weight.abs().amax(dim=1)
    largest = torch.where(largest > 0, largest, 1.0)
    tried = torch.linspace(0.2, 1.0, SCALES_TRIED, device=weight.device)
    best, error = largest.clone(), torch.full_like(largest, torch.inf)
    for part in tried:
        scale = part * largest
        rounded = torch.clamp(torch.round(weight / scale[:, None]), low, high) * scale[:, None]
        found = ((rounded - weight) ** 2).sum(dim=1)
        best = torch.where(found < error, scale, best)
        error = torch.minimum(found, error)
    return best
