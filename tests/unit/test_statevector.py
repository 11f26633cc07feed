"""Execution of many circuits in one trip: order, independence, seeds, and exact corner distributions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import goodness_of_fit, histogram, random_parameters
from shotclock.domain.circuit import QaoaParameters
from shotclock.domain.errors import SubproblemError
from shotclock.emulator.statevector import execute, execute_all, probabilities


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 2)), min_size=1, max_size=6),
    st.integers(0, 2**63 - 1),
    st.sampled_from((0.0, 0.13, 1.0)),
)
def test_a_circuit_in_a_batch_is_the_circuit_alone(
    shapes: list[tuple[int, int]], seed: int, flip: float
) -> None:
    """Sizes and layers mixed, to show that memory shared within a size carries nothing over."""
    sets = tuple(random_parameters(n, k, layers) for k, (n, layers) in enumerate(shapes))
    seeds = tuple((seed + k) % 2**63 for k in range(len(sets)))
    together = execute_all(sets, 100, (flip,) * len(sets), seeds)
    for parameters, at, samples in zip(sets, seeds, together, strict=True):
        alone = execute(parameters, 100, flip, at)
        np.testing.assert_array_equal(samples.pool, alone.pool)
        np.testing.assert_array_equal(samples.counts, alone.counts)
        assert samples.shots == 100


def test_a_batch_needs_a_flip_probability_and_a_seed_for_every_circuit() -> None:
    with pytest.raises(ValueError, match="shorter"):
        execute_all((QaoaParameters.idle(2), QaoaParameters.idle(2)), 1, (0.0,), (0, 1))


def test_seeds_make_samples_and_different_ones_make_different_samples() -> None:
    p = random_parameters(8, 1)
    this, same, other = (execute(p, 500, 0.05, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(this.pool, same.pool)
    np.testing.assert_array_equal(this.counts, same.counts)
    assert not np.array_equal(histogram(this), histogram(other))


def test_pools_are_distinct_and_ascend() -> None:
    samples = execute(random_parameters(6, 2), 300, 0.1, 1)
    words = samples.pool.astype(np.int64) @ (1 << np.arange(6))
    assert (np.diff(words) > 0).all()
    assert samples.counts.min() >= 1


def test_full_replacement_is_uniform_and_none_keeps_a_certain_state() -> None:
    idle = QaoaParameters.idle(4)
    certain = execute(idle, 1000, 0.0, 1)
    assert (certain.pool.tolist(), certain.counts.tolist()) == ([[0, 0, 0, 0]], [1000])
    assert goodness_of_fit(execute(idle, 20_000, 1.0, 1), np.full(16, 1 / 16)) > 1e-3


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
def test_probabilities_are_normalised_whatever_the_number_of_qubits(n: int) -> None:
    assert probabilities(random_parameters(n, n, 2)).sum() == pytest.approx(1.0, abs=1e-12)


def test_too_many_variables_are_refused_before_anything_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = QaoaParameters.idle(30)

    def allocate(*_: object, **__: object) -> None:
        raise AssertionError("2ⁿ entries were allocated")

    monkeypatch.setattr(np, "empty", allocate)
    with pytest.raises(SubproblemError, match="30 variables, but the state vector takes at most 26"):
        probabilities(idle)
