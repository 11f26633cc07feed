"""A gate on each unit of a layer: 1 keeps the unit, 0 removes it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class UnitGate(nn.Module):
    """Multiplies (batch, units) by the gates, which only deltas change, not the optimizer."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.open = nn.Parameter(torch.ones(units), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, units) → (batch, units)."""
        return x * self.open
