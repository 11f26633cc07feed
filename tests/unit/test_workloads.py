"""Every reference workload keeps its port's promises; everything random in it comes from the seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from shotclock.domain.errors import SettingsError
from shotclock.domain.ports import Workload
from shotclock.solvers.fallback import Classical
from shotclock.training.layers.rounded import RoundedLinear
from shotclock.training.layers.ternary import TernaryLinear
from shotclock.training.layers.unit_gate import UnitGate
from shotclock.training.loops import digits_mlp, medium, mnist_mlp, rerank
from shotclock.training.loops.classifier import Classifier

N = 8
SERVED = [
    pytest.param(digits_mlp.build, "qat_flip", id="digits-mlp"),
    pytest.param(digits_mlp.build_rounded, "rounding", id="digits-rounded"),
    pytest.param(digits_mlp.build_gated, "prune_mask", id="digits-gated"),
    pytest.param(digits_mlp.build_quantized, "task_rounding", id="digits-quantized"),
    pytest.param(mnist_mlp.build, "qat_flip", id="mnist-mlp"),
    pytest.param(mnist_mlp.build_rounded, "rounding", id="mnist-rounded"),
    pytest.param(mnist_mlp.build_gated, "prune_mask", id="mnist-gated"),
    pytest.param(mnist_mlp.build_quantized, "rounding", id="mnist-quantized"),
    pytest.param(medium.build, "rounding", id="medium"),
    pytest.param(rerank.build, "diverse_rerank", id="digits-rerank"),
]


def test_the_digits_are_those_of_scikit_learn_split_by_class() -> None:
    images, targets = load_digits(return_X_y=True)
    parts = train_test_split(images / 16, targets, test_size=450, random_state=0, stratify=targets)
    split = digits_mlp.digits()
    shipped = (split.train_x, split.held_x, split.train_y, split.held_y)
    for part, expected in zip(shipped, parts, strict=True):
        np.testing.assert_array_equal(part.numpy(), expected)


@pytest.mark.parametrize(("build", "kernel"), SERVED)
def test_the_kernel_it_is_for_asks_and_its_answer_applies(build: object, kernel: str) -> None:
    assert callable(build)
    workload: Workload = build(0)
    asking = workload.kernel(kernel, N)
    proposal = asking.propose(3, 7)
    subproblem = proposal.subproblem
    assert (subproblem.n, subproblem.kind, subproblem.base_version, subproblem.budget_ns) == (N, kernel, 3, 7)
    again = asking.rebuild(proposal, 4)
    np.testing.assert_allclose(again.quadratic, subproblem.quadratic, atol=1e-7)
    np.testing.assert_allclose(again.linear, subproblem.linear, atol=1e-7)
    assert (again.base_version, again.request_id) == (4, subproblem.request_id)
    delta = asking.delta(proposal, Classical().solve(subproblem), 4)
    loss_before = workload.evaluate()
    change = workload.probe(delta)
    assert workload.evaluate() == loss_before
    workload.apply(delta)
    if len(delta.indices):
        assert change != 0.0 or asking.rebuild(proposal, 5).energy(np.zeros(N, np.uint8)) != 0.0
    assert np.isfinite(workload.step())


@pytest.mark.parametrize(("build", "kernel"), SERVED[:7])
def test_the_same_seed_trains_the_same_model_and_asks_the_same(build: object, kernel: str) -> None:
    assert callable(build)
    trainings = []
    for seed in (1, 1, 2):
        workload: Workload = build(seed)
        losses = [workload.step() for _ in range(3)]
        trainings.append((losses, workload.kernel(kernel, N).propose(0, 0).subproblem.linear.tolist()))
    assert trainings[0] == trainings[1]
    assert trainings[0] != trainings[2]


def test_building_leaves_the_callers_random_numbers_alone() -> None:
    drawn = torch.get_rng_state()
    digits_mlp.build_rounded(0)
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize(
    ("build", "kind"),
    [
        (digits_mlp.build, TernaryLinear),
        (digits_mlp.build_rounded, RoundedLinear),
        (digits_mlp.build_gated, UnitGate),
    ],
)
def test_each_network_holds_the_layers_its_kernel_needs(build: object, kind: type[torch.nn.Module]) -> None:
    assert callable(build)
    workload = build(0)
    assert isinstance(workload, Classifier)
    layers = [module for module in workload.model.modules() if isinstance(module, kind)]
    assert len(layers) >= 2


def test_a_rounded_network_trains_on_and_its_rounded_weights_stay() -> None:
    workload = digits_mlp.build_rounded(0)
    rounded = workload.model.get_parameter("2.weight").clone()
    first = workload.model.get_parameter("0.weight").clone()
    before = workload.evaluate()
    for _ in range(100):
        workload.step()
    assert torch.equal(workload.model.get_parameter("2.weight"), rounded)
    assert not torch.equal(workload.model.get_parameter("0.weight"), first)
    assert workload.evaluate() < before


def test_a_kernel_that_needs_other_layers_says_which() -> None:
    with pytest.raises(SettingsError, match="'prune_mask' needs a model with UnitGate layers"):
        digits_mlp.build(0).kernel("prune_mask", N)
    with pytest.raises(SettingsError, match="'rounding' needs a model with RoundedLinear layers"):
        digits_mlp.build_gated(0).kernel("rounding", N)
    with pytest.raises(SettingsError, match="workload 'digits-gated' has no kernel 'prune'"):
        digits_mlp.build_gated(0).kernel("prune", N)
