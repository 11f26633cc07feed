"""K2: the surrogate is the loss change to second order, and the price makes the wanted number the optimum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from shotclock.domain.delta import Proposal
from shotclock.domain.errors import SettingsError, SubproblemError
from shotclock.domain.subproblem import Bits, Float64s
from shotclock.solvers.exact import Exact
from shotclock.training.kernels.curvature import gauss_newton, slope
from shotclock.training.kernels.price import ENUMERATED, price_of, resize
from shotclock.training.kernels.prune_mask import PruneMask
from shotclock.training.kernels.surrogate import Quadratic
from shotclock.training.layers.parameters import add
from shotclock.training.loops.classifier import build_gated

N = 8
GATES = "2.open"


def train(seed: int = 0, steps: int = 30) -> tuple[nn.Sequential, Tensor, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_gated(6, N, 4).double()
        inputs = torch.randn(200, 6, dtype=torch.float64)
        targets = (inputs @ torch.randn(6, 4, dtype=torch.float64)).argmax(dim=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model, inputs, targets


def loss_of(model: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    with torch.no_grad():
        return float(nn.functional.cross_entropy(model(inputs), targets))


@pytest.mark.parametrize("seed", range(5))
def test_slope_and_curvature_are_the_loss_change_to_second_order(seed: int) -> None:
    model, inputs, targets = train(seed)
    gates = model.get_parameter(GATES)
    toward = torch.randn(N, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    gradient = slope(model, GATES, inputs, targets)
    # the logits are linear in the last gates, so Gauss–Newton is the whole second order
    curvature = gauss_newton(model, GATES, torch.arange(N), toward, inputs)
    before = loss_of(model, inputs, targets)
    errors = []
    for size in (0.02, 0.01):
        with torch.no_grad():
            gates.add_(size * toward)
        true = loss_of(model, inputs, targets) - before
        with torch.no_grad():
            gates.sub_(size * toward)
        errors.append(abs(size * float(gradient @ toward) + 0.5 * size**2 * float(curvature.sum()) - true))
    assert errors[1] < errors[0] / 5.0  # third order: an eighth


@pytest.mark.parametrize("closed", [0, 3])
def test_the_energy_is_slope_curvature_and_price(closed: int) -> None:
    model, inputs, targets = train(1)
    gates = model.get_parameter(GATES)
    with torch.no_grad():
        gates[:closed] = 0.0
    proposal = PruneMask(model, inputs, targets, N, 0).propose(0, 1)
    steps = 1.0 - 2.0 * gates.detach()
    gradient = slope(model, GATES, inputs, targets).numpy()
    curvature = gauss_newton(model, GATES, torch.arange(N), steps, inputs).numpy()
    price = proposal.context.price  # type: ignore[attr-defined]
    for bits in all_bits(N)[::17]:
        b = bits.astype(np.float64)
        surplus = float(gates.sum() + steps.numpy() @ b) - N // 2
        expected = gradient @ (steps.numpy() * b) + 0.5 * b @ curvature @ b
        expected += price.each * surplus + price.penalty * surplus**2
        assert proposal.subproblem.energy(bits) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("keep", [0.25, 0.5])
def test_the_optimum_keeps_the_wanted_share(seed: int, keep: float) -> None:
    model, inputs, targets = train(seed, steps=100)
    asking = PruneMask(model, inputs, targets, N, seed, keep)
    for version in range(3):  # the second time units may come back, and the share stays
        proposal = asking.propose(version, 1)
        add(model, asking.delta(proposal, Exact().solve(proposal.subproblem), version))
        assert int(model.get_parameter(GATES).sum()) == round(keep * N)


def all_bits(n: int) -> Bits:
    return ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(np.uint8)


def energies(problem: Quadratic, pool: Bits) -> Float64s:
    return problem.subproblem("", "", 0, 0).energies(pool)


def random_problem(n: int, seed: int) -> Quadratic:
    rng = np.random.default_rng(seed)
    return Quadratic(rng.normal(size=(n, n)), rng.normal(size=n), float(rng.normal()))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 8), st.data())
def test_a_price_makes_the_wanted_number_optimal_whatever_the_problem(
    seed: int, n: int, data: st.DataObject
) -> None:
    target = data.draw(st.integers(1, n - 1))
    problem = random_problem(n, seed)
    priced = price_of(problem, target).add_to(problem, np.ones(n), -target)
    pool = all_bits(n)
    best = pool[int(np.argmin(energies(priced, pool)))]
    assert int(best.sum()) == target
    # and among the sets of that size it is the best one without a price
    same = pool[pool.sum(axis=1) == target]
    assert energies(problem, best[None])[0] == pytest.approx(energies(problem, same).min())


def test_a_convex_problem_needs_no_bow() -> None:
    problem = Quadratic(np.full((6, 6), 0.5), -np.arange(6.0))
    assert price_of(problem, 3).penalty == 0.0


def test_above_enumeration_the_wanted_number_is_met_or_nearly() -> None:
    n = ENUMERATED + 2
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(n, 5))
    problem = Quadratic(spread @ spread.T, -rng.uniform(5.0, 10.0, n))
    priced = price_of(problem, n // 2).add_to(problem, np.ones(n), -(n // 2))
    answer = Exact(max_variables=n).solve(priced.subproblem("", "", 0, 0))
    assert abs(int(answer.sum()) - n // 2) <= 1


@given(st.integers(0, 10_000), st.integers(0, 63), st.integers(0, 63))
def test_reflection_is_the_same_function_of_flips(seed: int, base: int, flips: int) -> None:
    problem = random_problem(6, seed)
    from_bits, x = all_bits(6)[base], all_bits(6)[flips]
    reflected = problem.reflect(from_bits)
    assert energies(reflected, x[None])[0] == pytest.approx(energies(problem, (from_bits ^ x)[None])[0])


@given(st.integers(0, 10_000), st.integers(0, 255), st.integers(0, 8))
def test_resizing_meets_the_number_and_changes_no_more_than_it_must(
    seed: int, start: int, target: int
) -> None:
    chosen = all_bits(8)[start]
    resized = resize(random_problem(8, seed), chosen, target)
    assert int(resized.sum()) == target
    assert int((resized != chosen).sum()) == abs(target - int(chosen.sum()))


def test_a_gate_that_moved_meanwhile_is_not_moved_again() -> None:
    model, inputs, targets = train()
    asking = PruneMask(model, inputs, targets, N, 0)
    proposal = asking.propose(0, 1)
    first = np.eye(N, dtype=np.uint8)[0]
    add(model, asking.delta(proposal, first, 0))
    rebuilt = asking.rebuild(proposal, 1)
    assert rebuilt.energy(first) == rebuilt.offset
    add(model, asking.delta(proposal, np.ones(N, np.uint8), 1))
    assert torch.equal(model.get_parameter(GATES), torch.zeros(N, dtype=torch.float64))


def test_no_gradient_is_left_behind() -> None:
    model, inputs, targets = train()
    model.zero_grad()
    PruneMask(model, inputs, targets, N, 0).propose(0, 1)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.get_parameter(GATES).requires_grad


def test_what_cannot_be_served_is_said() -> None:
    x, y = torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(SettingsError, match="needs a model with UnitGate layers"):
        PruneMask(nn.Linear(2, 2), x, y, 2, 0)
    with pytest.raises(
        SettingsError, match=r"kernel\.n: must be at most the smallest layer's 8 units \(got 9\)"
    ):
        PruneMask(build_gated(2, 8, 2), x, y, 9, 0)
    model, inputs, targets = train()
    with torch.no_grad():
        model.get_parameter("0.weight").fill_(torch.nan)
    with pytest.raises(SubproblemError, match=r"subproblem\.(linear|quadratic): has NaN"):
        PruneMask(model, inputs, targets, N, 0).propose(0, 1)


def test_a_proposal_of_another_kernel_is_a_bug() -> None:
    model, inputs, targets = train()
    asking = PruneMask(model, inputs, targets, N, 0)
    foreign = Proposal(asking.propose(0, 1).subproblem, context=None)
    with pytest.raises(TypeError, match="not a proposal of prune_mask"):
        asking.delta(foreign, np.ones(N, np.uint8), 0)
