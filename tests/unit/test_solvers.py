"""Classical solvers against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from shotclock.domain.errors import SubproblemError
from shotclock.domain.ports import Solver
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.solvers.exact import Exact
from shotclock.solvers.fallback import Classical, classical, warm
from shotclock.solvers.greedy import Greedy
from shotclock.solvers.tabu import Tabu

# Whole numbers, so that energies are exact and ties are real.
COEFFICIENTS = st.integers(-50, 50).map(float)


@st.composite
def subproblems(draw: st.DrawFn, low: int = 1, high: int = 12) -> Subproblem:
    n = draw(st.integers(low, high))
    upper = np.triu(draw(npst.arrays(np.float64, (n, n), elements=COEFFICIENTS)), k=1)
    return Subproblem(upper + upper.T, draw(npst.arrays(np.float64, n, elements=COEFFICIENTS)))


def everything(n: int) -> Bits:
    return ((np.arange(1 << n)[:, None] >> np.arange(n)) & 1).astype(np.uint8)


def normal(n: int, seed: int) -> Subproblem:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.normal(size=(n, n)), k=1)
    return Subproblem(upper + upper.T, rng.normal(size=n))


@settings(max_examples=60, deadline=None)
@given(subproblems())
def test_exact_is_brute_forces_first_optimum(subproblem: Subproblem) -> None:
    pool = everything(subproblem.n)
    best = pool[int(np.argmin(subproblem.energies(pool)))]
    np.testing.assert_array_equal(Exact().solve(subproblem), best)


@settings(max_examples=60, deadline=None)
@given(subproblems())
def test_greedy_stops_where_no_flip_helps(subproblem: Subproblem) -> None:
    bits = Greedy().solve(subproblem)
    flips = bits ^ np.eye(subproblem.n, dtype=np.uint8)
    assert subproblem.energy(bits) <= subproblem.energies(flips).min()
    assert subproblem.energy(bits) <= 0.0


@settings(max_examples=60, deadline=None)
@given(subproblems(), st.integers(0, 2**63 - 1))
def test_tabu_is_never_above_doing_nothing_nor_below_the_optimum(subproblem: Subproblem, seed: int) -> None:
    energy = subproblem.energy(Tabu(seed).solve(subproblem))
    assert subproblem.energy(Exact().solve(subproblem)) <= energy <= 0.0


@pytest.mark.parametrize("n", [13, 16, 20])
def test_exact_agrees_with_brute_force_beyond_one_block(n: int) -> None:
    subproblem = normal(n, n)
    lowest = min(float(subproblem.energies(part).min()) for part in np.array_split(everything(n), 16))
    assert subproblem.energy(Exact().solve(subproblem)) == pytest.approx(lowest, abs=1e-9)


def test_tabu_finds_the_optimum_of_nearly_every_random_instance() -> None:
    found = sum(
        subproblem.energy(Tabu().solve(subproblem)) <= subproblem.energy(Exact().solve(subproblem)) + 1e-9
        for subproblem in (normal(16, seed) for seed in range(30))
    )
    assert found >= 29


def test_tabu_repeats_itself_by_seed() -> None:
    subproblem = normal(60, 1)
    np.testing.assert_array_equal(Tabu(3).solve(subproblem), Tabu(3).solve(subproblem))


@pytest.mark.parametrize(
    "solver", [Exact(), Tabu(), Greedy(), Classical()], ids=lambda solver: str(solver.name)
)
def test_answers_are_bits_of_the_right_shape(solver: Solver) -> None:
    bits = solver.solve(normal(9, 2))
    assert (bits.shape, bits.dtype.name, set(bits.tolist()) <= {0, 1}) == ((9,), "uint8", True)


def test_the_fallback_enumerates_to_twenty_and_searches_above() -> None:
    warm()
    assert (classical(20).name, classical(21).name) == ("exact", "tabu")
    large = normal(40, 4)
    np.testing.assert_array_equal(Classical().solve(large), Tabu().solve(large))
    with pytest.raises(SubproblemError, match="has 21 variables"):
        Exact().solve(normal(21, 5))
