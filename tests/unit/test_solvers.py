"""Classical solvers against brute force."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from shotclock.domain.errors import SubproblemError
from shotclock.domain.ports import Solver
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.solvers.annealing import Annealing
from shotclock.solvers.exact import Exact, _solve
from shotclock.solvers.fallback import Classical, classical
from shotclock.solvers.greedy import Greedy
from shotclock.solvers.pools import DescentPool, PerturbedGreedy, RandomPool, descend
from shotclock.solvers.tabu import Tabu

# Whole numbers, so that energies are exact and ties are real.
COEFFICIENTS = st.integers(-50, 50).map(float)


@st.composite
def subproblems(draw: st.DrawFn, low: int = 1, high: int = 12) -> Subproblem:
    n = draw(st.integers(low, high))
    upper = np.triu(draw(npst.arrays(np.float64, (n, n), elements=COEFFICIENTS)), k=1)
    return Subproblem(upper + upper.T, draw(npst.arrays(np.float64, n, elements=COEFFICIENTS)))


def list_all_bits(n: int) -> Bits:
    return ((np.arange(1 << n)[:, None] >> np.arange(n)) & 1).astype(np.uint8)


def normal(n: int, seed: int) -> Subproblem:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.normal(size=(n, n)), k=1)
    return Subproblem(upper + upper.T, rng.normal(size=n))


@settings(max_examples=60, deadline=None)
@given(subproblems())
def test_exact_is_brute_forces_first_optimum(subproblem: Subproblem) -> None:
    pool = list_all_bits(subproblem.n)
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
    lowest = min(float(subproblem.energies(part).min()) for part in np.array_split(list_all_bits(n), 16))
    assert subproblem.energy(Exact().solve(subproblem)) == pytest.approx(lowest, abs=1e-9)


def draw_kind(kind: str, n: int, rng: np.random.Generator) -> Subproblem:
    upper, linear = np.triu(rng.normal(size=(n, n)), k=1), rng.normal(size=n)
    match kind:
        case "sparse":
            upper *= rng.random((n, n)) < 0.25
        case "integer":
            upper, linear = np.round(3 * upper), np.round(3 * linear)
        case "ferromagnetic":
            upper = -np.abs(upper)
            linear += np.abs(upper).sum() / n
        case "shifted":
            upper, linear = upper + 1.5 * np.triu(np.ones((n, n)), k=1), 6 * linear
        case "rounding":  # the surrogate of `rounding`: a row's weights over correlated activations
            inputs = np.maximum(rng.normal(size=(200, 8)) @ rng.normal(size=(8, n)), 0.0)
            curvature = inputs.T @ inputs / 200 + 1e-3 * np.eye(n)
            linear = np.diag(curvature) + 2.0 * curvature @ -rng.random(n)
            upper = np.triu(curvature, k=1)
    return Subproblem(upper + upper.T, linear)


@pytest.mark.parametrize("kind", ["dense", "sparse", "integer", "ferromagnetic", "shifted", "rounding"])
def test_tabu_finds_the_optimum_of_every_instance(kind: str) -> None:
    rng = np.random.default_rng(2026)
    for n in (8, 12, 16, 18):
        for _ in range(20):
            drawn = draw_kind(kind, n, rng)
            energy, best = (drawn.energy(solver.solve(drawn)) for solver in (Tabu(), Exact()))
            assert energy <= best + drawn.tie_tolerance(), f"{kind}, n = {n}"


def test_annealing_finds_the_optimum_of_nearly_every_random_instance() -> None:
    optimal = sum(
        instance.energy(Annealing().solve(instance))
        <= instance.energy(Exact().solve(instance)) + instance.tie_tolerance()
        for instance in (normal(14, seed) for seed in range(30))
    )
    assert optimal >= 29


def test_annealing_stays_at_nothing_where_nothing_changes_the_energy() -> None:
    np.testing.assert_array_equal(Annealing().solve(Subproblem(np.zeros((3, 3)), np.zeros(3))), [0, 0, 0])


def test_tabu_repeats_itself_by_seed() -> None:
    subproblem = normal(60, 1)
    np.testing.assert_array_equal(Tabu(3).solve(subproblem), Tabu(3).solve(subproblem))


@pytest.mark.parametrize(
    "solver",
    [
        Exact(),
        Tabu(),
        Annealing(),
        Greedy(),
        Classical(),
        RandomPool(20),
        PerturbedGreedy(20),
        DescentPool(RandomPool(5)),
        DescentPool(PerturbedGreedy(5)),
    ],
    ids=lambda solver: str(solver.name),
)
def test_answers_are_bits_of_the_right_shape(solver: Solver) -> None:
    bits = solver.solve(normal(9, 2))
    assert (bits.shape, bits.dtype.name, set(bits.tolist()) <= {0, 1}) == ((9,), "uint8", True)


def test_the_fallback_enumerates_to_twenty_and_searches_above() -> None:
    assert (classical(normal(20, 4)).name, classical(normal(21, 4)).name) == ("exact", "tabu")
    large = normal(40, 4)
    np.testing.assert_array_equal(Classical().solve(large), Tabu().solve(large))
    with pytest.raises(SubproblemError, match="has 21 variables"):
        Exact().solve(normal(21, 5))


@settings(max_examples=60, deadline=None)
@given(subproblems(), st.integers(0, 2**63 - 1))
def test_elimination_agrees_with_enumeration(subproblem: Subproblem, seed: int) -> None:
    couplings = np.triu(np.random.default_rng(seed).random((subproblem.n,) * 2) < 0.4)
    sparse = Subproblem(np.where(couplings | couplings.T, subproblem.quadratic, 0.0), subproblem.linear)
    for each in (subproblem, sparse):
        assert each.energy(Exact(max_variables=0).solve(each)) == each.energy(Exact().solve(each))


@pytest.mark.parametrize("rows", [4, 12])
def test_a_lattice_beyond_enumeration_is_solved_exactly(rows: int) -> None:
    n, rng = rows * 10, np.random.default_rng(rows)
    place = np.arange(n).reshape(rows, 10)
    upper = np.zeros((n, n))
    for first, second in ((place[:, :-1], place[:, 1:]), (place[:-1], place[1:])):
        upper[first.ravel(), second.ravel()] = rng.normal(size=first.size)
    lattice = Subproblem(upper + upper.T, rng.normal(size=n))
    assert classical(lattice).name == "exact"
    bits = Exact().solve(lattice)
    assert lattice.energy(bits) <= lattice.energy(Tabu().solve(lattice)) + lattice.tie_tolerance()
    assert lattice.energy(bits) <= lattice.energy(Annealing().solve(lattice)) + lattice.tie_tolerance()


def test_elimination_of_a_dense_subproblem_is_refused() -> None:
    with pytest.raises(SubproblemError, match="has 40 variables and too many terms for elimination"):
        Exact().solve(normal(40, 4))


POOLS = pytest.mark.parametrize("drawn", [RandomPool, PerturbedGreedy], ids=lambda drawn: str(drawn.name))


@POOLS
def test_control_arms_draw_as_many_candidates_as_there_are_shots(
    drawn: type[RandomPool | PerturbedGreedy],
) -> None:
    subproblem = normal(9, 3)
    samples = drawn(300, 5).sample(subproblem)
    assert samples.shots == 300
    assert len(np.unique(samples.pool, axis=0)) == len(samples.pool)
    again, other = drawn(300, 5).sample(subproblem), drawn(300, 6).sample(subproblem)
    np.testing.assert_array_equal(samples.pool, again.pool)
    np.testing.assert_array_equal(samples.counts, again.counts)
    assert samples.pool.shape != other.pool.shape or (samples.pool != other.pool).any()
    solved = subproblem.energy(drawn(300, 5).solve(subproblem))
    assert solved == pytest.approx(subproblem.energies(samples.pool).min(), rel=1e-12)


def test_perturbing_without_flips_is_greedy_and_with_every_flip_its_opposite() -> None:
    subproblem = normal(10, 1)
    greedy = Greedy().solve(subproblem)
    np.testing.assert_array_equal(PerturbedGreedy(7, 0, 0.0).sample(subproblem).pool, [greedy])
    np.testing.assert_array_equal(PerturbedGreedy(7, 0, 1.0).sample(subproblem).pool, [1 - greedy])


def test_perturbed_bits_leave_greedys_at_the_warm_starts_rate() -> None:
    subproblem = normal(10, 2)
    samples = PerturbedGreedy(4000, 1).sample(subproblem)
    away = (samples.pool != Greedy().solve(subproblem)).mean(axis=1)
    assert samples.counts @ away / samples.shots == pytest.approx(0.25, abs=0.01)


@settings(max_examples=40, deadline=None)
@given(subproblems(high=10), st.integers(0, 1000))
def test_descent_takes_every_row_to_a_local_minimum_and_leaves_the_pool_alone(
    subproblem: Subproblem, seed: int
) -> None:
    pool = np.random.default_rng(seed).integers(0, 2, (6, subproblem.n), dtype=np.uint8)
    before = pool.copy()
    minima = descend(subproblem, pool)
    np.testing.assert_array_equal(pool, before)
    # the coefficients are whole numbers, so energies are exact
    assert (subproblem.energies(minima) <= subproblem.energies(pool)).all()
    for bits in minima:
        flips = bits ^ np.eye(subproblem.n, dtype=np.uint8)
        assert subproblem.energy(bits) <= subproblem.energies(flips).min()
    np.testing.assert_array_equal(descend(subproblem, minima), minima)


@settings(max_examples=30, deadline=None)
@given(subproblems(high=10))
def test_descent_from_zeros_is_greedy(subproblem: Subproblem) -> None:
    zeros = np.zeros((1, subproblem.n), np.uint8)
    np.testing.assert_array_equal(descend(subproblem, zeros)[0], Greedy().solve(subproblem))


@POOLS
def test_descending_a_pool_is_never_worse_than_the_pool(drawn: type[RandomPool | PerturbedGreedy]) -> None:
    for seed in range(10):
        subproblem = normal(14, seed)
        descended = subproblem.energy(DescentPool(drawn(50, seed)).solve(subproblem))
        assert descended <= subproblem.energy(drawn(50, seed).solve(subproblem)) + 1e-9


def test_a_subproblem_in_any_memory_order_runs_the_code_that_is_compiled() -> None:
    subproblem = normal(9, 0)
    turned = Subproblem(np.asfortranarray(subproblem.quadratic), np.repeat(subproblem.linear, 2)[::2])
    expected = Exact().solve(subproblem)
    compiled = len(cast("Any", _solve).signatures)
    np.testing.assert_array_equal(Exact().solve(turned), expected)
    assert len(cast("Any", _solve).signatures) == compiled


def test_lists_are_refused_by_name() -> None:
    with pytest.raises(SubproblemError, match=r"subproblem\.quadratic: must be a numpy array \(got a list\)"):
        Subproblem([[0.0, 1.0], [1.0, 0.0]], np.zeros(2))  # type: ignore[arg-type]
