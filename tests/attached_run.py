"""A training run that is attached to a service under a name, and reports its validation metric."""

from __future__ import annotations

import torch
from torch import nn

import shotclock
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.iteration import CallCounts
from shotclock.training.calls import CallPolicy
from shotclock.training.kernels.rounding import Rounding
from shotclock.training.layers.activations import Calibrated
from shotclock.training.layers.rounded import round_layers
from shotclock.wire.tls import ClientTls

KERNEL = Rounding.name


def train(target: str, security: ClientTls, run: str, n: int, losses: list[float]) -> CallCounts:
    """A step with a call before each loss that it reports."""
    model = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 4))
    round_layers(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    quantum = shotclock.attach(
        optimizer,
        model=model,
        kernel=Rounding(model, Calibrated(model, torch.randn(32, 16)), n=n, seed=0),
        target=target,
        security=security,
        policy=CallPolicy(1, "inline", 60 * NS_PER_S),
        run=run,
    )
    for loss in losses:
        optimizer.step()
        quantum.report_validation(loss)
    counts = quantum.summary()
    quantum.detach()
    return counts
