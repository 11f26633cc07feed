"""The inference workload: k of n by relevance less redundancy, within a request's own life."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from shotclock.domain.errors import SettingsError
from shotclock.domain.subproblem import Bits
from shotclock.solvers.exact import Exact
from shotclock.training.kernels.diverse_rerank import DiverseRerank
from shotclock.training.loops.rerank import PICKED, REDUNDANCY, SHOWN, DigitsRerank, build

N = 10


def serve_loss(stream: DigitsRerank, bits: Bits) -> float:
    """The loss of showing a set, written out."""
    request = stream.current()
    relevance, similarity = request.relevance.numpy(), request.similarity.numpy()
    chosen = np.flatnonzero(bits)
    pairs = sum(similarity[i, j] for i, j in combinations(chosen, 2))
    return float(-(relevance[chosen].sum() - REDUNDANCY * pairs) / len(chosen))


def test_the_optimum_is_the_best_set_of_k() -> None:
    stream = build(0)
    asking = stream.kernel("diverse_rerank", N)
    for version in range(5):
        proposal = asking.propose(version, 1)
        stream.apply(asking.delta(proposal, Exact().solve(proposal.subproblem), version))
        shown = stream.current().shown.numpy().astype(np.uint8)
        sets = [
            np.isin(np.arange(N), combination).astype(np.uint8)
            for combination in combinations(range(N), PICKED)
        ]
        assert serve_loss(stream, shown) == pytest.approx(
            min(serve_loss(stream, subset) for subset in sets), abs=1e-6
        )
        expected = serve_loss(stream, shown)
        assert stream.step() == pytest.approx(expected, abs=1e-6)


def test_changing_nothing_shows_the_most_relevant() -> None:
    stream = build(1)
    asking = stream.kernel("diverse_rerank", N)
    proposal = asking.propose(0, 1)
    nothing = np.zeros(N, np.uint8)
    assert len(asking.delta(proposal, nothing, 0).indices) == 0
    shown = stream.current().shown.numpy()
    relevance = stream.current().relevance.numpy()
    assert set(np.flatnonzero(shown)) == set(np.argsort(-relevance)[:PICKED])


@pytest.mark.parametrize("bits", [1, 0b1111100000, 2**N - 1, 0b11])
def test_an_answer_of_another_size_is_brought_to_k(bits: int) -> None:
    stream = build(2)
    asking = stream.kernel("diverse_rerank", N)
    proposal = asking.propose(0, 1)
    answer = ((bits >> np.arange(N)) & 1).astype(np.uint8)
    delta = asking.delta(proposal, answer, 0)
    change = stream.probe(delta)
    before = serve_loss(stream, stream.current().shown.numpy())
    stream.apply(delta)
    shown = stream.current().shown.numpy()
    assert shown.sum() == PICKED
    assert set(shown) <= {0.0, 1.0}
    assert serve_loss(stream, shown) - before == pytest.approx(change, abs=1e-6)


def test_an_answer_to_a_request_that_was_served_is_void() -> None:
    stream = build(3)
    asking = stream.kernel("diverse_rerank", N)
    proposal = asking.propose(0, 1)
    answer = Exact().solve(proposal.subproblem)
    assert len(asking.delta(proposal, answer, 0).indices)
    stream.step()
    assert asking.rebuild(proposal, 1).energy(answer) == proposal.subproblem.energy(answer)
    assert len(asking.delta(proposal, answer, 1).indices) == 0


def test_served_requests_make_the_held_out_loss() -> None:
    stream = build(4)
    losses = [stream.step() for _ in range(6)]
    assert stream.evaluate() == pytest.approx(np.mean(losses))
    assert build(4).evaluate() == pytest.approx(losses[0])


def test_the_same_seed_brings_the_same_requests() -> None:
    first, second = build(5), build(5)
    assert [first.step() for _ in range(4)] == [second.step() for _ in range(4)]


def test_what_cannot_be_served_is_said() -> None:
    with pytest.raises(SettingsError, match="no kernel 'qat_flip'; known: diverse_rerank"):
        build(0).kernel("qat_flip", 8)
    with pytest.raises(SettingsError, match=r"kernel\.n: must be more than the 5 candidates shown \(got 5\)"):
        DiverseRerank(build(0), 5, 5, 0.5, SHOWN)
    with pytest.raises(SettingsError, match=r"redundancy: must be at least 0 \(got -1\.0\)"):
        DiverseRerank(build(0), 5, 3, -1.0, SHOWN)
