"""Pre-evaluation: expected best of shots against brute force, and what is never worth a submit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import random_subproblem
from shotclock.circuits.angles import cold, parameters
from shotclock.circuits.preview import SHORT_SHOTS, preview
from shotclock.domain.circuit import Samples
from shotclock.domain.errors import ProviderError
from shotclock.domain.subproblem import Bits, Float64s, Subproblem
from shotclock.emulator.statevector import execute, probabilities
from shotclock.solvers.exact import Exact
from shotclock.solvers.greedy import Greedy

# Of the gain from all zeros to the optimum, with 256 short shots for 1,024.
MEAN_TOLERANCE, WORST_TOLERANCE = 0.02, 0.2


def list_all_bits(n: int) -> Bits:
    return ((np.arange(1 << n)[:, None] >> np.arange(n)) & 1).astype(np.uint8)


def best_of(energies: Float64s, weights: Float64s, shots: int) -> float:
    """E[min of shots draws] = e₀ + Σ (e_{k+1} − e_k)·P(one draw > e_k)^shots: not preview's own formula."""
    order = np.argsort(energies)
    above = 1.0 - np.cumsum(weights[order])[:-1]
    steps = np.diff(energies[order])
    return float(energies[order][0] + steps @ np.clip(above, 0.0, 1.0) ** shots)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 10), st.integers(1, 2000), st.integers(0, 1000))
def test_a_zero_subproblem_is_never_worth_it(n: int, shots: int, seed: int) -> None:
    zero = Subproblem(np.zeros((n, n)), np.zeros(n), offset=0.3)
    samples = execute(parameters(zero, np.zeros(n, np.uint8)), 100, 0.1, seed)
    expected = preview(zero, samples, 0.3, shots)
    assert (expected.gain, expected.chance, expected.worth) == (0.0, 0.0, False)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 10), st.integers(1, 5000), st.integers(0, 1000))
def test_nothing_is_expected_beyond_the_optimum(n: int, shots: int, seed: int) -> None:
    subproblem = random_subproblem(n, seed)
    optimum = subproblem.energy(Exact().solve(subproblem))
    samples = execute(cold(subproblem), SHORT_SHOTS, 0.05, seed)
    assert not preview(subproblem, samples, optimum, shots).worth
    expected = preview(subproblem, samples, 0.0, shots)
    assert optimum - 1e-9 <= expected.energy
    assert 0.0 <= expected.gain <= -optimum + 1e-9
    assert 0.0 <= expected.chance <= 1.0 + 1e-12


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(1, 400), st.integers(0, 1000))
def test_with_the_true_distribution_the_expectation_is_exact(n: int, shots: int, seed: int) -> None:
    subproblem = random_subproblem(n, seed)
    counts = np.random.default_rng(seed).integers(1, 50, 1 << n)
    expected = preview(subproblem, Samples(list_all_bits(n), counts), 0.0, shots)
    exact = best_of(subproblem.energies(list_all_bits(n)), counts / counts.sum(), shots)
    assert expected.energy == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("n", [8, 12])
def test_a_short_sample_predicts_the_best_of_many_shots(n: int) -> None:
    errors = []
    for seed in range(40):
        subproblem = random_subproblem(n, seed)
        angles = cold(subproblem) if seed % 2 else parameters(subproblem, Greedy().solve(subproblem))
        energies = subproblem.energies(list_all_bits(n))
        exact = best_of(energies, probabilities(angles), 1024)
        short = execute(angles, SHORT_SHOTS, 0.0, seed)
        errors.append((preview(subproblem, short, 0.0, 1024).energy - exact) / -energies.min())
    assert np.abs(errors).mean() < MEAN_TOLERANCE
    assert np.abs(errors).max() < WORST_TOLERANCE


def test_gain_and_chance_by_hand() -> None:
    """One variable worth −2: half the shots find it, so of two shots three quarters do."""
    subproblem = Subproblem(np.zeros((1, 1)), np.array([-2.0]))
    samples = Samples(np.array([[0], [1]], np.uint8), np.array([5, 5]))
    expected = preview(subproblem, samples, 0.0, 2)
    assert expected.energy == pytest.approx(-1.5)
    assert expected.gain == pytest.approx(1.5)
    assert expected.chance == pytest.approx(0.75)
    assert expected.worth
    assert not preview(subproblem, samples, 0.0, 2, at_least=1.6).worth
    assert not preview(subproblem, samples, -2.0, 2).worth


def test_samples_of_another_circuit_are_refused() -> None:
    with pytest.raises(ProviderError, match="do not fit"):
        preview(random_subproblem(3, 0), Samples.none(3), 0.0, 10)
