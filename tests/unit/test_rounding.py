"""K1: the surrogate is the row's loss itself, and a delta moves exactly the chosen weights by one level."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from shotclock.domain.delta import Delta
from shotclock.domain.errors import SettingsError, SubproblemError
from shotclock.solvers.exact import Exact
from shotclock.training.kernels.rounding import DAMPING, Block, Rounding
from shotclock.training.layers.activations import Calibrated, CapturedActivations
from shotclock.training.layers.parameters import add
from shotclock.training.layers.rounded import RoundedLinear, round_layers
from shotclock.training.loops.classifier import plain

N = 6


def network(seed: int = 0, bits: int = 2) -> tuple[nn.Sequential, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 3))
        inputs = torch.randn(40, 5)
    middle = model[2]
    assert isinstance(middle, nn.Linear)
    model[2] = RoundedLinear(middle, bits)
    return model, inputs


def kernel(seed: int = 0, bits: int = 2) -> tuple[Rounding, nn.Sequential, Tensor]:
    model, inputs = network(seed, bits)
    return Rounding(model, Calibrated(model, inputs), N, seed), model, inputs


def row_loss(model: nn.Sequential, inputs: Tensor, row: int) -> float:
    """eᵀHe written out: the mean squared error of the row's output, and the damping."""
    layer = model[2]
    assert isinstance(layer, RoundedLinear)
    with torch.no_grad():
        activations = model[:2](inputs).double()
        error = layer.weight[row].double() - layer.reference[row].double()
        output_error = (activations @ error).square().mean()
        square = output_error + DAMPING * activations.square().mean() * error.square().sum()
    return float(square)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 50), bits=st.integers(2, 4), picked=st.integers(0, 2**N - 1))
def test_the_surrogate_is_the_row_loss_exactly(seed: int, bits: int, picked: int) -> None:
    asking, model, inputs = kernel(seed, bits)
    for _ in range(3):
        proposal = asking.propose(0, 1)
        block = proposal.context
        assert isinstance(block, Block)
        assert proposal.subproblem.offset == pytest.approx(row_loss(model, inputs, block.row), rel=1e-6)
        chosen = ((picked >> np.arange(N)) & 1).astype(np.uint8)
        delta = asking.delta(proposal, chosen, 0)
        assert len(delta.indices) == chosen.sum()
        add(model, delta)
        assert proposal.subproblem.energy(chosen) == pytest.approx(
            row_loss(model, inputs, block.row), rel=1e-5, abs=1e-9
        )


def test_every_weight_stays_on_one_of_its_two_levels() -> None:
    asking, model, _ = kernel(3)
    layer = model[2]
    assert isinstance(layer, RoundedLinear)
    for version in range(60):
        proposal = asking.propose(version, 1)
        add(model, asking.delta(proposal, Exact().solve(proposal.subproblem), version))
    for row in range(4):
        above = layer.above_floor(row, torch.arange(9))
        assert set(above.tolist()) <= {0.0, 1.0}
        torch.testing.assert_close(
            layer.weight[row] / layer.scale[row], (layer.weight[row] / layer.scale[row]).round()
        )


def test_exact_answers_lower_the_layers_loss_below_nearest_rounding() -> None:
    asking, model, _ = kernel(1)
    nearest = asking.layer_loss("2")
    for version in range(40):
        proposal = asking.propose(version, 1)
        add(model, asking.delta(proposal, Exact().solve(proposal.subproblem), version))
    assert asking.layer_loss("2") < 0.7 * nearest


def test_a_sweep_asks_every_row_with_one_block_before_the_next() -> None:
    asking, _, _ = kernel()
    blocks = [asking.propose(0, 1).context for _ in range(8)]
    assert all(isinstance(block, Block) for block in blocks)
    assert [block.row for block in blocks] == [0, 1, 2, 3] * 2  # type: ignore[attr-defined]
    columns = [tuple(block.columns) for block in blocks]  # type: ignore[attr-defined]
    assert len(set(columns[:4])) == 1
    assert set(columns[0]) | set(columns[4]) == set(range(9))


def test_rows_of_a_layer_share_their_couplings_up_to_the_square_of_the_scale() -> None:
    asking, model, _ = kernel()
    layer = model[2]
    assert isinstance(layer, RoundedLinear)
    couplings = []
    for row in range(4):
        proposal = asking.propose(0, 1)
        block = proposal.context
        assert isinstance(block, Block)
        sign = np.sign(block.steps(layer).numpy())
        scale = float(layer.scale[row])
        couplings.append(proposal.subproblem.quadratic * np.outer(sign, sign) / scale**2)
    for other in couplings[1:]:
        np.testing.assert_allclose(other, couplings[0], rtol=1e-5, atol=1e-9)


def test_a_weight_that_reached_its_target_meanwhile_has_no_step_left() -> None:
    asking, model, inputs = kernel()
    proposal = asking.propose(0, 1)
    first = np.eye(N, dtype=np.uint8)[0]
    add(model, asking.delta(proposal, first, 0))
    rebuilt = asking.rebuild(proposal, 1)
    everything = np.ones(N, np.uint8)
    assert rebuilt.energy(first) == rebuilt.offset
    delta = asking.delta(proposal, everything, 1)
    assert len(delta.indices) == N - 1
    add(model, delta)
    assert rebuilt.energy(everything) == pytest.approx(row_loss(model, inputs, 0), rel=1e-5)
    assert (rebuilt.base_version, rebuilt.request_id) == (1, proposal.subproblem.request_id)


def test_looking_at_a_layer_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(5, 9), nn.BatchNorm1d(9), nn.Dropout(0.5), nn.Linear(9, 4))
    round_layers(model)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    drawn = torch.get_rng_state()
    asking = Rounding(model, Calibrated(model, torch.randn(16, 5)), N, 0)
    torch.set_rng_state(drawn)
    asking.propose(0, 1)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_what_training_shows_a_layer_is_caught_and_what_evaluation_shows_is_not() -> None:
    model, inputs = network()
    caught = CapturedActivations(model, ("2",), limit=8)
    with pytest.raises(SettingsError, match="layer '2': no batch captured yet"):
        caught.inputs("2")
    model(inputs)
    shown = caught.inputs("2").clone()
    assert shown.shape == (8, 9)
    with torch.no_grad():
        model(inputs * 2.0)
    assert torch.equal(caught.inputs("2"), shown)
    caught.close()
    model(inputs * 2.0)
    assert torch.equal(caught.inputs("2"), shown)


def test_a_forward_pass_that_shows_a_layer_nothing_is_said() -> None:
    class InlinedLinear(nn.Module):
        """Computes its linear layer without calling it, as compiled code does."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(x, self.inner.weight, self.inner.bias)

    calibrated = Calibrated(InlinedLinear(), torch.randn(8, 4))
    with pytest.raises(
        SettingsError, match=r"layer 'inner': a forward pass does not call it; pass the model"
    ):
        calibrated.inputs("inner")


def test_nan_in_the_model_names_the_field_and_touches_nothing() -> None:
    asking, model, inputs = kernel()
    with torch.no_grad():
        inputs[0, 0] = torch.nan
    before = model.get_parameter("2.weight").clone()
    with pytest.raises(SubproblemError, match=r"subproblem\.linear: has NaN"):
        asking.propose(0, 1)
    assert torch.equal(model.get_parameter("2.weight"), before)


def test_a_model_without_eligible_layers_says_so() -> None:
    model = nn.Sequential(nn.Linear(5, 9))
    with pytest.raises(SettingsError, match="needs a model with RoundedLinear layers"):
        Rounding(model, Calibrated(model, torch.zeros(1, 5)), N, 0)
    with pytest.raises(SettingsError, match=r"two nn\.Linear layers \(got 1\)"):
        round_layers(model)
    with pytest.raises(SettingsError, match="bits: must be at least 2"):
        round_layers(nn.Sequential(nn.Linear(5, 9), nn.Linear(9, 2)), bits=1)
    rounded, inputs = network()
    with pytest.raises(
        SettingsError, match=r"kernel\.n: must be at most the shortest row's 9 weights \(got 10\)"
    ):
        Rounding(rounded, Calibrated(rounded, inputs), 10, 0)


def test_rounding_keeps_the_parameter_that_the_optimizer_knows() -> None:
    model = nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 4))
    weight = model.get_parameter("2.weight")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    round_layers(model)
    assert model.get_parameter("2.weight") is weight
    before = weight.detach().clone()
    bias = model.get_parameter("2.bias").detach().clone()
    model(torch.randn(3, 5)).sum().backward()
    optimizer.step()
    assert torch.equal(weight, before)
    assert not torch.equal(model.get_parameter("2.bias"), bias)


@pytest.mark.parametrize(("momentum", "decay"), [(0.9, 0.0), (0.0, 0.1)])
def test_a_gradient_from_before_moves_no_rounded_weight(momentum: float, decay: float) -> None:
    model, inputs = plain(6, 8, 3), torch.randn(16, 6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum, weight_decay=decay)
    for rounds in (False, True):
        if rounds:
            round_layers(model)
        before = model.get_parameter("2.weight").detach().clone()
        optimizer.zero_grad(set_to_none=False)
        model(inputs).square().sum().backward()
        optimizer.step()
        assert torch.equal(model.get_parameter("2.weight"), before) is rounds


def test_a_row_of_zeros_is_rounded_to_zeros() -> None:
    linear = nn.Linear(4, 2)
    with torch.no_grad():
        linear.weight[0] = 0.0
    layer = RoundedLinear(linear, 2)
    assert torch.equal(layer.weight[0], torch.zeros(4))
    assert torch.isfinite(layer.weight).all()


def test_a_proposal_of_another_kernel_is_a_bug() -> None:
    asking, _, _ = kernel()
    proposal = asking.propose(0, 1)
    foreign = type(proposal)(proposal.subproblem, context=Delta)
    with pytest.raises(TypeError, match="not a proposal of rounding: type"):
        asking.rebuild(foreign, 0)
