"""Ternary weights trained through a straight-through estimator.

A latent weight w has level round(w/c) clipped to −1, 0, 1, with the thresholds ±Δ of Ternary Weight
Networks (Li et al., arXiv 1605.04711): Δ = 0.7·E|w| and cell width c = 2Δ, fixed when the layer is made.
The level counts as level·s, with s trained beside the latent weights, its gradient divided by the
square root of their number (Esser et al., arXiv 1902.08153).
Latent weights are clipped to the outer levels' cells (Courbariaux et al., arXiv 1511.00363).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class TernaryLinear(nn.Module):
    """A linear layer of shape (outputs, inputs) whose weight is rounded to three levels in forward."""

    cell: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        initial = nn.Linear(inputs, outputs)
        self.latent = nn.Parameter(initial.weight.detach().clone())
        self.bias = nn.Parameter(initial.bias.detach().clone())
        self.register_buffer("cell", 1.4 * self.latent.detach().abs().mean())
        self.scale = nn.Parameter(self.cell.clone())

    def levels(self) -> Tensor:
        """The present level of each weight, −1, 0 or 1; shape of the weight."""
        return torch.clamp(torch.round(self.latent.detach() / self.cell), -1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs) → (batch, outputs); the gradient passes the rounding unchanged."""
        levels = torch.clamp(torch.round(self.latent.detach() / self.cell), -1, 1)
        damped = self.scale / math.sqrt(self.latent.numel())
        scale = damped + (self.scale - damped).detach()
        weight = levels * scale + self.latent - self.latent.detach()
        return nn.functional.linear(x, weight, self.bias)

    @torch.no_grad()
    def clip(self) -> None:
        """Keeps each latent weight inside the cells of the outer levels."""
        bound = float(1.5 * self.cell)
        self.latent.clamp_(-bound, bound)
