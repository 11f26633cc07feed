"""Decoding: the best sample on the objective as asked, and figures of quality kept apart."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import random_subproblem
from shotclock.circuits.angles import parameters
from shotclock.circuits.decoding import _lowest, decode
from shotclock.circuits.quality import QualityReference, judge, quality
from shotclock.domain.circuit import Samples
from shotclock.domain.errors import ProviderError
from shotclock.domain.subproblem import Subproblem
from shotclock.emulator.statevector import execute
from shotclock.solvers.exact import Exact
from shotclock.solvers.greedy import Greedy
from shotclock.solvers.pools import descend

# E(00) = 1, E(10) = 3, E(01) = 2, E(11) = −1: both flips from 00 go up, so 00 is a local minimum.
TRAP = Subproblem(np.array([[0.0, -2.5], [-2.5, 0.0]]), np.array([2.0, 1.0]), offset=1.0)
REFERENCE = QualityReference(incumbent=1.0, optimum=-1.0)


def samples(*rows: tuple[list[int], int]) -> Samples:
    return Samples(np.array([bits for bits, _ in rows], np.uint8), np.array([count for _, count in rows]))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 10), st.integers(0, 1000))
def test_the_answer_is_the_best_sample_on_the_objective(n: int, seed: int) -> None:
    subproblem = random_subproblem(n, seed)
    drawn = execute(parameters(subproblem, np.zeros(n, np.uint8)), 50, 0.1, seed)
    answer = decode(subproblem, drawn)
    assert answer.energy == pytest.approx(min(subproblem.energy(row) for row in drawn.pool))
    assert answer.energy == pytest.approx(subproblem.energy(answer.bits))


@pytest.mark.parametrize(
    "unfit",
    [
        Samples.none(2),
        Samples(np.zeros((1, 3), np.uint8), np.ones(1, np.int64)),
        Samples(np.full((1, 2), 2, np.uint8), np.ones(1, np.int64)),
        Samples(np.zeros((1, 2), np.uint8), np.zeros(1, np.int64)),
        Samples(np.zeros((2, 2), np.uint8), np.ones(1, np.int64)),
    ],
    ids=["none", "another n", "not bits", "no count", "counts missing"],
)
def test_samples_that_do_not_fit_are_refused(unfit: Samples) -> None:
    with pytest.raises(ProviderError, match="do not fit"):
        decode(TRAP, unfit)
    with pytest.raises(ProviderError, match="do not fit"):
        quality(TRAP, unfit, REFERENCE, descend)


def test_raw_and_descended_figures_are_kept_apart() -> None:
    """01 at E = 2 was measured, never 11; a descent from 01 finds it."""
    measured = quality(TRAP, samples(([0, 0], 6), ([0, 1], 4)), REFERENCE, descend)
    assert (measured.raw.energy, measured.raw.ratio, measured.raw.optimal) == (1.0, 0.0, False)
    assert measured.with_descent.energy == -1.0
    assert (measured.with_descent.ratio, measured.with_descent.optimal) == (1.0, True)
    assert measured.p_optimum == 0.0


def test_p_optimum_is_a_share_of_shots() -> None:
    measured = quality(TRAP, samples(([0, 0], 6), ([0, 1], 3), ([1, 1], 1)), REFERENCE, descend)
    assert measured.p_optimum == pytest.approx(0.1)
    assert (measured.raw.ratio, measured.raw.optimal) == (1.0, True)


def test_where_the_incumbent_is_optimal_the_ratio_is_one_by_definition() -> None:
    best = QualityReference(incumbent=-1.0, optimum=-1.0)
    measured = quality(TRAP, samples(([0, 1], 5)), best, descend)
    assert (measured.raw.ratio, measured.raw.optimal) == (1.0, True)
    assert measured.p_optimum == 0.0


def test_worse_than_the_incumbent_is_no_gain_and_no_loss() -> None:
    assert quality(TRAP, samples(([1, 0], 5)), REFERENCE, descend).raw.ratio == 0.0


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 10), st.integers(0, 1000), st.floats(-20.0, 20.0))
def test_ratios_lie_between_nothing_and_the_optimum(n: int, seed: int, exponent: float) -> None:
    """Whatever the objective's scale; and a descent never makes a pool worse."""
    unscaled = random_subproblem(n, seed)
    scale = 10.0**exponent
    subproblem = Subproblem(unscaled.quadratic * scale, unscaled.linear * scale)
    optimum = Exact().solve(subproblem)
    reference = QualityReference(0.0, subproblem.energy(optimum))
    drawn = execute(parameters(subproblem, np.zeros(n, np.uint8)), 30, 0.0, seed)
    measured = quality(subproblem, drawn, reference, descend)
    assert 0.0 <= measured.raw.ratio <= measured.with_descent.ratio + 1e-9 <= 1.0 + 1e-9
    assert measured.raw.optimal == (measured.raw.ratio > 1.0 - 1e-9)
    assert judge(subproblem, optimum, reference).optimal
    greedy = judge(subproblem, Greedy().solve(subproblem), reference)
    assert 0.0 <= greedy.ratio <= 1.0


def test_samples_of_any_integer_kind_run_the_code_that_is_compiled() -> None:
    decoded = decode(TRAP, samples(([0, 0], 6), ([1, 1], 1)))
    compiled = len(cast("Any", _lowest).signatures)
    wide = Samples(np.asfortranarray(np.array([[0, 0], [1, 1]])), np.array([6, 1]))
    again = decode(TRAP, wide)
    assert (again.energy, again.bits.tolist()) == (decoded.energy, [1, 1])
    assert len(cast("Any", _lowest).signatures) == compiled
