"""K1 by the task's loss: the surrogate is the loss change to second order; deltas move single levels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from shotclock.domain.delta import Delta
from shotclock.domain.errors import SettingsError
from shotclock.training.kernels.task_rounding import TaskRounding
from shotclock.training.layers.rounded import RoundedLinear, round_layers
from shotclock.training.loops.classifier import Classifier
from shotclock.training.loops.digits_mlp import build_quantized, digits

N = 8


@pytest.fixture(scope="module")
def trained() -> Classifier:
    workload = build_quantized(0)
    for _ in range(20):
        workload.step()
    return workload


def make_kernel(workload: Classifier, n: int = N) -> TaskRounding:
    kernel = workload.kernel("task_rounding", n)
    assert isinstance(kernel, TaskRounding)
    return kernel


def test_the_surrogate_follows_the_true_loss_change(trained: Classifier) -> None:
    kernel, split = make_kernel(trained), digits()
    rng = np.random.default_rng(0)

    @torch.no_grad()
    def loss(batch: torch.Tensor) -> float:
        return float(nn.functional.cross_entropy(trained.model(split.train_x[batch]), split.train_y[batch]))

    changes = []
    for _ in range(24):
        proposal = kernel.propose(0, 1)
        batch = proposal.context.batch  # type: ignore[attr-defined]
        before = loss(batch)
        bits = (rng.random(N) < 0.3).astype(np.uint8)
        delta = kernel.delta(proposal, bits, 0)
        trained.apply(delta)
        changes.append((proposal.subproblem.energy(bits), loss(batch) - before))
        trained.apply(Delta(0, delta.parameter, delta.indices, -delta.values))
    predicted, true = np.transpose(changes)
    # Third order and the curvature of the network are left out. One change may be off by half: training ends
    # elsewhere on another processor.
    assert np.corrcoef(predicted, true)[0, 1] > 0.9
    assert np.abs(predicted - true).mean() < 0.3 * np.abs(true).mean() + 2e-3


def test_candidates_lower_the_loss_most_and_move_to_the_other_level(trained: Classifier) -> None:
    kernel = make_kernel(trained)
    proposal = kernel.propose(0, 1)
    delta = kernel.delta(proposal, np.ones(N, np.uint8), 0)
    layer = trained.model.get_submodule(delta.parameter.removesuffix(".weight"))
    assert isinstance(layer, RoundedLinear)
    before = layer.weight.detach().clone()
    others = before + layer.steps_to_other_level()
    levels = torch.round(others / layer.scale[:, None])
    assert layer.low <= float(levels.min()) <= float(levels.max()) <= layer.high
    assert float((others - layer.reference).abs().max()) < 2 * float(layer.scale.max())
    trained.apply(delta)
    moved = torch.isclose(layer.weight.detach(), others, atol=1e-6).flatten().numpy()
    trained.apply(Delta(0, delta.parameter, delta.indices, -delta.values))
    assert set(np.flatnonzero(moved)) == set(delta.indices.tolist())
    assert len(delta.indices) == N
    assert float(torch.dist(layer.weight.detach(), before)) < 1e-5


def test_a_model_without_rounded_layers_or_room_hears_what_to_call() -> None:
    x, y = torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(SettingsError, match=r"call `round_layers\(model, bits=2\)`, or set kernel\.name"):
        TaskRounding(nn.Linear(2, 2), x, y, 2, 0)
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    round_layers(model)
    with pytest.raises(SettingsError, match="smallest layer's 4 weights"):
        TaskRounding(model, x, y, 8, 0)
