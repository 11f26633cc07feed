"""Samples of wide circuits: the matrix product state against the state vector, and what truncation costs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from harness import random_parameters
from shotclock.domain.circuit import (
    MATRIX_PRODUCT_STATE,
    NOT_SIMULATED,
    STATE_VECTOR,
    QaoaParameters,
    Simulation,
    find_worst,
)
from shotclock.domain.subproblem import Float64s
from shotclock.emulator import matrix_product
from shotclock.emulator.matrix_product import MatrixProduct, choose_order, sample_wide
from shotclock.emulator.statevector import execute_all, probabilities


def amplitudes(state: MatrixProduct, order: matrix_product.Order) -> Float64s:
    """Probabilities of all basis states, bit i of the index being variable i."""
    vector = np.ones((1, 1))
    for site in state._sites:
        vector = np.einsum("xl,lsr->xsr", vector, site).reshape(-1, site.shape[2])
    n = len(order)
    square = np.abs(vector[:, 0].reshape((2,) * n)) ** 2
    # Axis k is the variable order[k]; the first axis of the result is the highest bit.
    axes = [int(np.flatnonzero(order == variable)[0]) for variable in range(n - 1, -1, -1)]
    flat: Float64s = square.transpose(axes).ravel()
    return flat


@pytest.mark.parametrize("layers", [1, 2])
def test_it_is_the_state_vector_in_any_order(layers: int) -> None:
    parameters = random_parameters(7, seed=layers, layers=layers)
    for order in (np.arange(7), np.array([3, 0, 6, 1, 5, 2, 4])):
        state = MatrixProduct.evolve(parameters, order)
        assert state.lost == 0.0
        np.testing.assert_allclose(amplitudes(state, order), probabilities(parameters), atol=1e-12)


def test_what_is_cut_off_is_what_the_state_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = random_parameters(8, seed=3, layers=1)
    exact = MatrixProduct.evolve(parameters, np.arange(8))
    monkeypatch.setattr(matrix_product, "BOND_DIMENSION", 6)
    state = MatrixProduct.evolve(parameters, np.arange(8))
    assert state.bond_dimension == 6
    assert 1e-6 < state.lost < 0.5
    overlap = np.ones((1, 1))
    for ours, theirs in zip(state._sites, exact._sites, strict=True):
        overlap = np.einsum("ab,asc,bsd->cd", overlap, ours.conj(), theirs)
    fidelity = float(np.abs(overlap[0, 0]) ** 2)
    assert 1.0 - fidelity == pytest.approx(state.lost, rel=0.5)


def test_samples_follow_the_distribution_and_say_how_they_were_made() -> None:
    parameters = random_parameters(6, seed=5, layers=1)
    samples = sample_wide(parameters, 20_000, 0.0, seed=1)
    counts = np.zeros(64)
    np.add.at(counts, samples.pool.astype(np.int64) @ (1 << np.arange(6)), samples.counts)
    expected = 20_000 * probabilities(parameters)
    assert ((counts - expected) ** 2 / (expected + 1.0)).sum() < 64 + 6 * np.sqrt(128)
    assert samples.simulation == Simulation(MATRIX_PRODUCT_STATE, samples.simulation.bond_dimension, 0.0)
    same = sample_wide(parameters, 20_000, 0.0, seed=1)
    assert (same.pool == samples.pool).all()


def test_the_state_vector_gives_way_beyond_its_width() -> None:
    wide = QaoaParameters.idle(40)
    narrow, beyond = execute_all((QaoaParameters.idle(3), wide), 16, (0.0, 1.0), (1, 2))
    assert narrow.simulation == Simulation(STATE_VECTOR)
    assert beyond.simulation.method == MATRIX_PRODUCT_STATE
    assert beyond.pool.shape[1] == 40
    # Every bit replaced by a random one, of a state that has none set.
    assert 0.35 < float(beyond.counts @ beyond.pool.mean(axis=1)) / beyond.shots < 0.65


def test_the_order_keeps_neighbours_together() -> None:
    coupled = np.zeros((12, 12), dtype=bool)
    chain = [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]
    for i, j in pairwise(chain):
        coupled[i, j] = coupled[j, i] = True
    order = choose_order(coupled)
    assert all(coupled[i, j] for i, j in pairwise(order.tolist()))


def test_an_unknown_error_is_worse_than_any() -> None:
    known, unknown = Simulation(MATRIX_PRODUCT_STATE, 32, 0.1), Simulation(MATRIX_PRODUCT_STATE, 32, None)
    assert find_worst([Simulation(STATE_VECTOR), known]) == known
    assert find_worst([unknown, known]) == unknown
    assert find_worst([]) == NOT_SIMULATED
    assert str(known) == "matrix product state, bond dimension 32, truncation error 1.0e-01"
    assert str(unknown) == "matrix product state, bond dimension 32, truncation error not known"
    assert str(Simulation(STATE_VECTOR)) == "state vector"
