"""Angles: the closed form against brute force, the grid's choice, scaling, and layers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import random_subproblem
from shotclock.circuits.angles import (
    BETA_STEPS,
    GAMMA_STEPS,
    coefficient_scale,
    cold,
    expectation,
    parameters,
)
from shotclock.domain.circuit import QaoaParameters
from shotclock.domain.subproblem import Float64s, Subproblem
from shotclock.emulator.statevector import probabilities
from shotclock.solvers.greedy import Greedy

KINDS = ("dense", "sparse", "fields alone", "couplings alone", "one coupling", "mean coupling")


def instance(kind: str, n: int, seed: int) -> Subproblem:
    """A random subproblem of one kind; J and h come from it through `ising`."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.normal(size=(n, n)), k=1)
    field = rng.normal(size=n)
    match kind:
        case "sparse":
            upper *= rng.random((n, n)) < 0.3
        case "fields alone":
            upper[:] = 0.0
        case "couplings alone":
            field[:] = 0.0
        case "one coupling":
            upper[:] = 0.0
            upper[0, n - 1] = 1.0
        case "mean coupling":
            upper = np.triu(1.0 + 0.3 * upper, k=1)
    coupling = np.triu(upper, k=1)
    coupling = coupling + coupling.T
    # J = Q/2 and h = −q/2 − rowsum(Q)/2, solved for Q and q.
    return Subproblem(2.0 * coupling, -2.0 * field - 2.0 * coupling.sum(axis=1))


def spins_energy(subproblem: Subproblem) -> Float64s:
    """Σ h z + Σ_{i<j} J z z of every basis state, by its definition."""
    coupling, field = subproblem.ising()
    n = subproblem.n
    z = 1.0 - 2.0 * ((np.arange(1 << n)[:, None] >> np.arange(n)) & 1)
    energies: Float64s = z @ field
    for i, j in itertools.combinations(range(n), 2):
        energies += coupling[i, j] * z[:, i] * z[:, j]
    return energies


def one_layer(subproblem: Subproblem, gamma: float, beta: float) -> QaoaParameters:
    coupling, field = subproblem.ising()
    warm = np.full(subproblem.n, math.pi / 2)
    return QaoaParameters(warm, gamma * field[None], gamma * coupling[None], np.array([beta]))


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.integers(2, 10),
    st.integers(0, 10_000),
    st.floats(-2.0, 2.0),
    st.floats(-1.6, 1.6),
)
def test_the_closed_form_is_brute_forces_expectation(
    kind: str, n: int, seed: int, gamma: float, beta: float
) -> None:
    subproblem = instance(kind, n, seed)
    brute = float(probabilities(one_layer(subproblem, gamma, beta)) @ spins_energy(subproblem))
    assert expectation(*subproblem.ising(), gamma, beta) == pytest.approx(brute, abs=1e-9)


def test_the_closed_form_of_one_variable_is_its_field_alone() -> None:
    subproblem = Subproblem(np.zeros((1, 1)), np.array([3.0]))
    coupling, field = subproblem.ising()
    want = field[0] * math.sin(2 * -0.3) * math.sin(2 * 0.4 * field[0])
    assert expectation(coupling, field, 0.4, -0.3) == pytest.approx(want)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_cold_is_the_lowest_point_of_its_grid(kind: str, seed: int) -> None:
    subproblem = instance(kind, 6, seed)
    coupling, field = subproblem.ising()
    scale = coefficient_scale(coupling, field)
    chosen = cold(subproblem)
    energy = float(probabilities(chosen) @ spins_energy(subproblem))
    lowest = min(
        expectation(
            coupling, field, math.pi / 2 * row / GAMMA_STEPS / scale, -math.pi / 2 * column / BETA_STEPS
        )
        for row in range(1, GAMMA_STEPS + 1)
        for column in range(1, BETA_STEPS + 1)
    )
    assert energy == pytest.approx(lowest, rel=1e-9)
    assert chosen.warm.tolist() == [math.pi / 2] * 6
    assert energy < 0.0  # lower than the uniform superposition it starts from


@pytest.mark.parametrize("kind", KINDS)
def test_no_angles_anywhere_beat_the_grids_by_much(kind: str) -> None:
    """Both signs of γ and β, a far wider range: the box of the grid holds what matters."""
    for seed in range(4):
        subproblem = instance(kind, 7, seed)
        coupling, field = subproblem.ising()
        scale = coefficient_scale(coupling, field)
        rng = np.random.default_rng(seed)
        wide = rng.uniform((-2.0 / scale, -math.pi / 2), (2.0 / scale, math.pi / 2), (4000, 2))
        lowest = min(expectation(coupling, field, gamma, beta) for gamma, beta in wide)
        energy = float(probabilities(cold(subproblem)) @ spins_energy(subproblem))
        assert energy <= 0.95 * lowest


def test_minimising_needs_a_negative_beta_with_a_positive_gamma() -> None:
    for seed in range(10):
        subproblem = random_subproblem(8, seed)
        chosen = cold(subproblem)
        assert chosen.mixer[0] < 0.0
        assert float((chosen.field[0] * subproblem.ising()[1]).sum()) > 0.0


@settings(max_examples=40, deadline=None)
@given(st.integers(-400, 400), st.integers(0, 100), st.sampled_from(("cold", "one layer", "two layers")))
def test_angles_do_not_depend_on_the_objectives_scale(exponent: int, seed: int, way: str) -> None:
    """Powers of two, so that scaling rounds nothing: the phases are the same bits."""
    subproblem = random_subproblem(6, seed)
    scaled = Subproblem(subproblem.quadratic * 2.0**exponent, subproblem.linear * 2.0**exponent)
    layers = 2 if way == "two layers" else 1
    plain, other = (
        cold(each) if way == "cold" else parameters(each, np.zeros(6, np.uint8), layers)
        for each in (subproblem, scaled)
    )
    np.testing.assert_allclose(other.field, plain.field, rtol=1e-12)
    np.testing.assert_allclose(other.coupling, plain.coupling, rtol=1e-12)
    np.testing.assert_array_equal(other.mixer, plain.mixer)


def test_nothing_to_minimise_has_no_phases() -> None:
    zero = Subproblem(np.zeros((3, 3)), np.zeros(3))
    for chosen in (cold(zero), parameters(zero, np.zeros(3, np.uint8), 2)):
        assert not chosen.field.any()
        assert not chosen.coupling.any()


def test_two_layers_ramp_and_one_is_the_default() -> None:
    subproblem, incumbent = random_subproblem(5, 1), np.array([0, 1, 0, 1, 1], np.uint8)
    one_layer, two_layers = parameters(subproblem, incumbent), parameters(subproblem, incumbent, 2)
    assert (one_layer.layers, two_layers.layers) == (1, 2)
    np.testing.assert_array_equal(two_layers.warm, one_layer.warm)
    np.testing.assert_allclose(two_layers.field, np.array([[0.5], [1.5]]) * one_layer.field)
    np.testing.assert_allclose(two_layers.coupling, np.array([[[0.5]], [[1.5]]]) * one_layer.coupling)
    np.testing.assert_allclose(two_layers.mixer, [-0.45, -0.15])


def test_two_ideal_layers_lower_the_mean_energy_further_than_one() -> None:
    gains = []
    for seed in range(20):
        subproblem = random_subproblem(8, seed)
        incumbent = Greedy().solve(subproblem)
        energies = spins_energy(subproblem)
        one_layer, two_layers = (
            probabilities(parameters(subproblem, incumbent, p)) @ energies for p in (1, 2)
        )
        gains.append(one_layer - two_layers)
    assert np.mean(gains) > 0.0
