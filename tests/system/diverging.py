"""A user's workload whose weights turn to NaN: what a learning rate too high does."""

from __future__ import annotations

import torch

from shotclock.training.loops.digits_mlp import DigitsMlp

STEPS_BEFORE = 25


class Diverging(DigitsMlp):
    """Healthy through the warm-up and a few steps more."""

    steps = 0

    def step(self) -> float:
        loss = super().step()
        self.steps += 1
        if self.steps == STEPS_BEFORE:
            with torch.no_grad():
                next(self.model.parameters()).fill_(float("nan"))
        return loss


def build(seed: int) -> Diverging:
    return Diverging(seed)
