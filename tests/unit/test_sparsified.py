"""Kernels whose subproblems have terms on a device's couplings alone."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from shotclock.app.arms import is_untimed, match_kernel
from shotclock.bench.judge.ladder import describe_ladder, find_ladder
from shotclock.bench.judge.metrics import Prices
from shotclock.bench.record.compared_calls import compare_call
from shotclock.domain.circuit import Samples
from shotclock.domain.iteration import Applied, FinishedCall
from shotclock.domain.outcome import Answer, Decision, Done, Provenance, Winner
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.settings.sources import load
from shotclock.solvers.annealing import Annealing
from shotclock.solvers.control_ladder import controls
from shotclock.solvers.exact import Exact
from shotclock.solvers.greedy import Greedy
from shotclock.training.kernels.sparsified import FLIPPED, Sparsified, place, sparsify
from shotclock.training.loops import digits_mlp

N = 10
LINE = tuple((i, i + 1) for i in range(N - 1))


def draw(seed: int, n: int = N) -> Subproblem:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.normal(size=(n, n)), 1)
    return Subproblem(upper + upper.T, rng.normal(size=n), 0.5)


def list_flips() -> Bits:
    return ((np.arange(1 << N)[:, None] >> np.arange(N)) & 1).astype(np.uint8)


def test_single_flips_and_flips_of_coupled_pairs_keep_their_energy() -> None:
    dense, about = draw(0), np.random.default_rng(1).integers(0, 2, N, dtype=np.uint8)
    sparse, _ = sparsify(dense, LINE, about)
    flips = np.vstack(
        [np.zeros(N, np.uint8), *np.eye(N, dtype=np.uint8), *(np.isin(np.arange(N), p) for p in LINE)]
    ).astype(np.uint8)
    np.testing.assert_allclose(sparse.energies(flips ^ about), dense.energies(flips ^ about), atol=1e-12)
    assert set(zip(*np.nonzero(np.triu(sparse.quadratic)), strict=True)) == set(LINE)


def test_the_error_is_the_deviation_over_a_warm_starts_assignments() -> None:
    dense, about, flips = draw(2), np.random.default_rng(3).integers(0, 2, N, dtype=np.uint8), list_flips()
    sparse, error = sparsify(dense, LINE, about)
    weight = FLIPPED ** flips.sum(axis=1) * (1.0 - FLIPPED) ** (N - flips.sum(axis=1))

    def deviate(energies: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        return float(np.sqrt(weight @ np.square(energies - weight @ energies)))

    whole = dense.energies(flips ^ about)
    assert error == pytest.approx(deviate(whole - sparse.energies(flips ^ about)) / deviate(whole), rel=1e-9)
    assert sparsify(dense, list(combinations(range(N), 2)), about)[1] == 0.0


def test_variables_are_placed_so_that_a_hidden_line_of_terms_is_kept() -> None:
    hidden, upper = np.array([1, 4, 0, 7, 9, 2, 8, 3, 6, 5]), np.zeros((N, N))
    upper[hidden[:-1], hidden[1:]] = 1.0 + np.arange(N - 1)[::-1]
    np.testing.assert_array_equal(place(upper + upper.T, LINE), hidden)
    np.testing.assert_array_equal(np.sort(place(np.zeros((N, N)), LINE[:3])), np.arange(N))


def test_a_sparsified_kernel_changes_the_weights_that_its_bits_stand_for() -> None:
    workload = digits_mlp.build_wide(0)
    n = workload.kernel_n or 0
    couplings = tuple((i, i + 1) for i in range(n - 1))
    asking = Sparsified(workload.kernel("task_rounding", n), couplings, Greedy())
    proposal = asking.propose(3, 10**9)
    sparse, dense = proposal.subproblem, proposal.dense
    assert dense is not None
    assert (sparse.base_version, sparse.budget_ns, sparse.request_id) == (3, 10**9, dense.request_id)
    assert 0.0 < proposal.surrogate_error < 2.0
    assert asking.loss_check
    # The dense surrogate says which weight a bit stands for.
    plain = workload.kernel("task_rounding", n)
    own = plain.propose(3, 10**9)
    at = int(np.argmin(own.subproblem.linear))
    bit = int(np.flatnonzero(dense.linear == own.subproblem.linear[at])[0])
    bits = np.zeros(n, np.uint8)
    bits[bit] = 1
    expected = np.zeros(n, np.uint8)
    expected[at] = 1
    changed, right = asking.delta(proposal, bits, 3), plain.delta(own, expected, 3)
    np.testing.assert_array_equal(changed.indices, right.indices)
    np.testing.assert_array_equal(changed.values, right.values)
    np.testing.assert_allclose(asking.rebuild(proposal, 4).quadratic, sparse.quadratic)
    with pytest.raises(TypeError, match="not a proposal of a sparsified kernel"):
        asking.delta(own, bits, 3)


def test_annealing_of_the_dense_surrogate_has_a_rung() -> None:
    compared = []
    for seed in range(8):
        dense = draw(seed, 24)
        sparse, error = sparsify(dense, [(i, i + 1) for i in range(23)], Greedy().solve(dense))
        compared.append(
            compare_call("hybrid", 0, finish(sparse, Exact().solve(sparse), dense, error), controls)
        )
        optimum = finish(sparse, Annealing(seed).solve(dense), dense, error)
        compared.append(compare_call("hybrid", 0, optimum, controls))
    ladder = find_ladder([call for call in compared if call is not None], Prices("USD", 1.0, 1.0, False))
    assert ladder is not None
    assert list(ladder.rungs)[-2:] == ["exact", "dense-annealing"]
    exact, searched = ladder.rungs["exact"], ladder.rungs["dense-annealing"]
    # Half of the samples are the optimum of one surrogate, half of the other; some instances have the same.
    assert (exact.better.value, searched.better.value) == (0.0, 0.0)
    for rung in (exact, searched):
        assert 0.5 <= (rung.equal.value or 0.0) < 1.0
    assert "annealing of the dense surrogate" in describe_ladder("hybrid", ladder)


def finish(subproblem: Subproblem, bits: Bits, dense: Subproblem, error: float) -> FinishedCall:
    answer = Answer(bits, subproblem.energy(bits), Winner.QUANTUM, "planted")
    samples = Samples(bits[None], np.ones(1, np.int64))
    return FinishedCall(
        step=0,
        request_id="r",
        subproblem=subproblem,
        boundary_ns=0,
        received_ns=2,
        blocked_ns=2,
        inline=True,
        deadline_ns=10**9,
        proposed=StageTiming(Stage.PROPOSE, 0, 1),
        applying=StageTiming(Stage.APPLY, 1, 1),
        outcome=Done(answer, samples, None, Provenance("planted", True, 0, samples_at_ns=1)),
        applied=Applied(Decision.APPLIED, Winner.QUANTUM, 1),
        dense=dense,
        surrogate_error=error,
    )


def test_a_wide_workload_asks_for_its_size_unless_settings_do() -> None:
    bench = {"workload": "shotclock.training.loops.digits_mlp:build_wide"}
    kernel = match_kernel(load(None, {"bench": bench})).kernel
    assert (kernel.name, kernel.n, kernel.sparse) == ("task_rounding", 64, True)
    kernel = match_kernel(load(None, {"bench": bench, "kernel": {"n": 100, "sparse": False}})).kernel
    assert (kernel.n, kernel.sparse) == (100, False)


@pytest.mark.parametrize(("n", "untimed"), [(20, False), (21, True), (64, True)])
def test_emulated_samples_beyond_twenty_variables_are_untimed(n: int, untimed: bool) -> None:
    assert is_untimed(load(None, {"kernel": {"n": n}})) is untimed
