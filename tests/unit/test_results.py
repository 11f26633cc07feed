"""The result cache: equal content and nothing else is a hit; what it holds cannot be changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotclock.domain.circuit import Samples
from shotclock.domain.subproblem import Priority, Subproblem
from shotclock.orchestrator.results import ResultCache

BASE = Subproblem(np.array([[0.0, 0.5], [0.5, 0.0]]), np.array([1.0, -2.0]), kind="qat_flip")


def samples(count: int = 1) -> Samples:
    return Samples(np.array([[0, 1]], dtype=np.uint8), np.array([count], dtype=np.int64))


def key(subproblem: Subproblem = BASE, shots: int = 100, seed_policy: str = "fresh") -> str:
    return ResultCache(1).key(subproblem, shots, seed_policy)


@pytest.mark.parametrize(
    "change",
    [
        {"offset": 7.0},
        {"request_id": "another"},
        {"base_version": 9},
        {"budget_ns": 5},
        {"priority": Priority.HIGH},
        {"quadratic": np.asfortranarray(BASE.quadratic)},
        {"quadratic": np.array([[-0.0, 0.5], [0.5, -0.0]])},
    ],
)
def test_what_no_sample_depends_on_is_not_in_the_key(change: dict[str, Any]) -> None:
    assert key(replace(BASE, **change)) == key()


def test_whatever_a_sample_depends_on_is_in_the_key() -> None:
    others = [
        key(replace(BASE, linear=np.array([1.0, -2.0000000001]))),
        key(replace(BASE, quadratic=np.array([[0.0, -0.5], [-0.5, 0.0]]))),
        key(replace(BASE, kind="other")),
        key(Subproblem(np.zeros((1, 1)), np.array([1.0]), kind="qat_flip")),
        key(shots=101),
        key(seed_policy="fixed"),
    ]
    assert len({key(), *others}) == 7


def test_names_cannot_run_into_each_other() -> None:
    first = key(replace(BASE, kind="a', 2, 100, 'b"), seed_policy="c")
    second = key(replace(BASE, kind="a"), seed_policy="b', 2, 100, 'c")
    assert first != second


def test_what_is_kept_is_read_only_and_the_callers_arrays_are_not() -> None:
    cache = ResultCache(1)
    mine = samples()
    cache.put("a", mine)
    mine.pool[0, 0] = 1
    mine.counts[0] = 50
    cached = cache.get("a")
    assert cached is not None
    assert cached.pool.tolist() == [[0, 1]]
    assert cached.counts.tolist() == [1]
    with pytest.raises(ValueError, match="read-only"):
        cached.pool[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        cached.counts[0] = 9


def test_size_zero_keeps_hashes_and_counts_nothing() -> None:
    cache = ResultCache(0)
    assert cache.key(BASE, 100, "fresh") == ""
    cache.put("a", samples())
    assert cache.get("a") is None
    assert (len(cache), cache.hits, cache.misses) == (0, 0, 0)


def test_a_hit_keeps_a_result_for_longer() -> None:
    cache = ResultCache(2)
    cache.put("a", samples())
    cache.put("b", samples())
    assert cache.get("a") is not None
    cache.put("c", samples())
    assert cache.get("a") is not None
    assert cache.get("b") is None


@given(st.integers(1, 3), st.lists(st.tuples(st.sampled_from("abcd"), st.booleans())))
def test_the_least_recently_used_makes_room(size: int, uses: list[tuple[str, bool]]) -> None:
    cache = ResultCache(size)
    recent: list[tuple[str, int]] = []
    hits = misses = 0
    for number, (name, puts) in enumerate(uses):
        expected = dict(recent)
        if puts:
            cache.put(name, samples(number))
            expected[name] = number
        else:
            cached = cache.get(name)
            assert (None if cached is None else cached.shots) == expected.get(name)
            hits, misses = hits + (name in expected), misses + (name not in expected)
        if name in expected:
            recent = [pair for pair in recent if pair[0] != name] + [(name, expected[name])]
        recent = recent[-size:]
        assert len(cache) == len(recent)
    assert (cache.hits, cache.misses) == (hits, misses)
