"""Learned times: the newest jobs of the last minute, by nearest rank, or the prediction."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from shotclock.domain.budget import NS_PER_MS, NS_PER_S
from shotclock.orchestrator.health.latency import FallbackTime, Slowness

MINUTE_NS = 60 * NS_PER_S


def nearest_rank(values: list[float], percent: int) -> float:
    return sorted(values)[math.ceil(percent * len(values) / 100) - 1]


def test_nothing_is_added_to_the_prediction_until_enough_was_seen() -> None:
    slowness = Slowness()
    for number in range(19):
        slowness.observe(float(number), number)
    assert slowness.p95_s(20) == 0.0
    slowness.observe(19.0, 20)
    assert slowness.p95_s(20) == 18.0


def test_a_slow_spell_is_forgotten_though_no_job_runs() -> None:
    slowness = Slowness()
    for _ in range(200):
        slowness.observe(30.0, NS_PER_S)
    assert slowness.p95_s(NS_PER_S + MINUTE_NS) == 30.0
    assert slowness.p95_s(NS_PER_S + MINUTE_NS + 1) == 0.0


@given(
    st.lists(st.tuples(st.floats(0, 2), st.sampled_from([0.0, 0.5, 1.0, 3.0])), min_size=1, max_size=320),
    st.floats(0, 70),
)
def test_slowness_is_the_p95_of_the_last_200_jobs_of_a_minute(
    jobs: list[tuple[float, float]], later_s: float
) -> None:
    slowness = Slowness()
    history: list[tuple[int, float]] = []
    now = 0
    for gap_s, seconds in jobs:
        now += round(gap_s * NS_PER_S)
        slowness.observe(seconds, now)
        history.append((now, seconds))
    now += round(later_s * NS_PER_S)
    recent = [seconds for at, seconds in history[-200:] if at >= now - MINUTE_NS]
    expected = nearest_rank(recent, 95) if len(recent) >= 20 else 0.0
    assert slowness.p95_s(now) == expected


def test_only_the_last_200_jobs_count() -> None:
    rising, falling = Slowness(), Slowness()
    for number in range(1000):
        rising.observe(float(number), 0)
        falling.observe(float(999 - number), 0)
    assert rising.p95_s(0) == 989.0  # the 190th of 800 … 999
    assert falling.p95_s(0) == 189.0  # the 190th of 0 … 199


def test_few_fallbacks_answer_with_the_longer_of_default_and_slowest() -> None:
    fallback_time = FallbackTime()
    assert fallback_time.p99_ns(NS_PER_MS) == NS_PER_MS
    fallback_time.observe(5 * NS_PER_MS)
    fallback_time.observe(2)
    assert fallback_time.p99_ns(NS_PER_MS) == 5 * NS_PER_MS
    assert fallback_time.p99_ns(9 * NS_PER_MS) == 9 * NS_PER_MS


@given(st.lists(st.integers(0, 10**9), min_size=100, max_size=200))
def test_fallback_time_is_its_p99(times: list[int]) -> None:
    fallback_time = FallbackTime()
    for duration in times:
        fallback_time.observe(duration)
    assert fallback_time.p99_ns(2 * 10**9) == nearest_rank([float(duration) for duration in times], 99)


def test_fallback_time_follows_the_last_thousand() -> None:
    fallback_time = FallbackTime()
    for number in range(3000):
        fallback_time.observe(number)
    assert fallback_time.p99_ns(0) == 2989
