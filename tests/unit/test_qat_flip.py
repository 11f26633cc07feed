"""K3: the surrogate is the loss change to second order, and a delta moves exactly the chosen levels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.errors import SettingsError
from shotclock.training.kernels.qat_flip import QatFlip
from shotclock.training.layers.ternary import TernaryLinear
from shotclock.training.loops.digits_mlp import DigitsMlp, build


def train(seed: int = 0, steps: int = 60) -> DigitsMlp:
    workload = build(seed)
    for _ in range(steps):
        workload.step()
    return workload


def kernel_of(workload: DigitsMlp, n: int = 8) -> QatFlip:
    kernel = workload.kernel("qat_flip", n)
    assert isinstance(kernel, QatFlip)
    return kernel


def curvature_loss(workload: DigitsMlp, kernel: QatFlip, proposal: Proposal) -> float:
    batch = proposal.context.batch  # type: ignore[attr-defined]
    with torch.no_grad():
        logits = workload.model(kernel._inputs[batch])
        return float(nn.functional.cross_entropy(logits, kernel._targets[batch]))


@pytest.mark.parametrize("seed", range(3))
def test_the_surrogate_follows_the_true_loss_change(seed: int) -> None:
    workload = train(seed)
    kernel = kernel_of(workload)
    rng = np.random.default_rng(seed)
    for _ in range(3):
        proposal = kernel.propose(0, 1)
        before = curvature_loss(workload, kernel, proposal)
        for _ in range(8):
            bits = (rng.random(8) < 0.3).astype(np.uint8)
            delta = kernel.delta(proposal, bits, 0)
            workload.apply(delta)
            true = curvature_loss(workload, kernel, proposal) - before
            workload.apply(Delta(0, delta.parameter, delta.indices, -delta.values))
            predicted = proposal.subproblem.energy(bits)
            # third order is left out: the error stays well below the size of the change
            assert predicted == pytest.approx(true, abs=2e-3 + 0.3 * abs(true))


def test_a_delta_moves_each_chosen_weight_by_one_level_and_no_other() -> None:
    workload = train()
    kernel = kernel_of(workload)
    proposal = kernel.propose(0, 1)
    layer = workload.model.get_submodule(proposal.context.layer)  # type: ignore[attr-defined]
    assert isinstance(layer, TernaryLinear)
    before = layer.levels().flatten().clone()
    bits = np.array([1, 0] * 4, np.uint8)
    delta = kernel.delta(proposal, bits, 0)
    workload.apply(delta)
    moved = (layer.levels().flatten() - before).numpy()
    assert set(np.flatnonzero(moved)) == set(delta.indices.tolist())
    assert len(delta.indices) == 4
    assert set(np.abs(moved[delta.indices])) == {1.0}


def test_rebuilding_on_an_unmoved_model_gives_the_same_surrogate() -> None:
    workload = train()
    kernel = kernel_of(workload)
    proposal = kernel.propose(3, 1)
    rebuilt = kernel.rebuild(proposal, 5)
    np.testing.assert_allclose(rebuilt.quadratic, proposal.subproblem.quadratic)
    np.testing.assert_allclose(rebuilt.linear, proposal.subproblem.linear)
    assert rebuilt.base_version == 5


def test_a_weight_that_left_its_level_is_not_moved_again() -> None:
    workload = train()
    kernel = kernel_of(workload)
    proposal = kernel.propose(0, 1)
    everything = np.ones(8, np.uint8)
    workload.apply(kernel.delta(proposal, everything, 0))
    assert len(kernel.delta(proposal, everything, 0).indices) == 0
    assert kernel.rebuild(proposal, 0).energy(everything) == 0.0


def test_probing_leaves_the_model_as_it_was_and_tells_the_change() -> None:
    workload = train()
    kernel = kernel_of(workload)
    proposal = kernel.propose(0, 1)
    delta = kernel.delta(proposal, np.ones(8, np.uint8), 0)
    state = {name: value.clone() for name, value in workload.model.state_dict().items()}
    change = workload.probe(delta)
    assert all(torch.equal(state[name], value) for name, value in workload.model.state_dict().items())
    assert change != 0.0
    x, y = workload._batch
    with torch.no_grad():
        before = float(nn.functional.cross_entropy(workload.model(x), y))
        workload.apply(delta)
        after = float(nn.functional.cross_entropy(workload.model(x), y))
    assert change == pytest.approx(after - before)


def test_the_same_seed_trains_the_same_model_and_asks_the_same() -> None:
    this, other = train(4), train(4)
    assert this.evaluate() == other.evaluate()
    first, second = (kernel_of(w).propose(0, 1).subproblem for w in (this, other))
    np.testing.assert_array_equal(first.quadratic, second.quadratic)


def test_training_lowers_the_held_out_loss() -> None:
    untrained = build(0).evaluate()
    assert train(0, 300).evaluate() < 0.6 * untrained


def test_a_workload_without_that_kernel_or_room_for_it_says_so() -> None:
    with pytest.raises(SettingsError, match="no kernel 'roundin'; known: qat_flip"):
        build(0).kernel("roundin", 8)
    x, y = torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(SettingsError, match="TernaryLinear"):
        QatFlip(nn.Linear(2, 2), x, y, 2, 0)
    with pytest.raises(
        SettingsError, match=r"kernel\.n: must be at most the smallest layer's 4 weights \(got 8\)"
    ):
        QatFlip(nn.Sequential(TernaryLinear(2, 2)), x, y, 8, 0)
