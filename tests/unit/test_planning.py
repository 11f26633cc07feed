"""Shots and rep_delay that fit a budget."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import FACTS, random_parameters, without_qpy
from shotclock.domain.errors import SettingsError
from shotclock.domain.outcome import Rejection
from shotclock.domain.ports import Job
from shotclock.emulator.profile import load
from shotclock.emulator.timing import quantile_s
from shotclock.orchestrator.planning import Fit, ShotLimits, fit_shots, fit_shots_and_delay

CIRCUITS = (without_qpy(random_parameters(4, 1)),)


def predict_colocated_s(shots: int, rep_delay_s: float | None = None) -> float:
    return quantile_s(Job.of(CIRCUITS, shots, "test", rep_delay_s), FACTS, load("colocated"), 0.95)


class CountingForecast:
    """A prediction that counts how often it is asked."""

    def __init__(self, predict_s: Callable[[int], float]) -> None:
        self.calls = 0
        self._predict_s = predict_s

    def __call__(self, shots: int) -> float:
        self.calls += 1
        return self._predict_s(shots)


SHAPES: dict[str, Callable[[int], float]] = {
    "line": lambda shots: 0.01 + 3e-4 * shots,
    "steps": lambda shots: 0.05 * math.ceil(shots / 700),
    "parabola": lambda shots: 1e-9 * shots**2,
    "root": lambda shots: 1e-3 * math.sqrt(shots),
    "flat": lambda shots: 0.02,
}


@given(
    shape=st.sampled_from(sorted(SHAPES)),
    remaining_ns=st.integers(-(10**9), 3 * 10**9),
    minimum=st.integers(1, 5000),
    more=st.integers(0, 100_000),
)
def test_the_most_that_fit_and_not_one_more(shape: str, remaining_ns: int, minimum: int, more: int) -> None:
    predict_s, limits = CountingForecast(SHAPES[shape]), ShotLimits(minimum, minimum + more)
    fitted = fit_shots(predict_s, remaining_ns, limits)
    assert predict_s.calls <= 2 + 3 * math.ceil(math.log2(more + 2))
    if isinstance(fitted, Rejection):
        assert predict_s(minimum) > remaining_ns / 1e9
    else:
        assert minimum <= fitted <= limits.maximum
        assert predict_s(fitted) <= remaining_ns / 1e9
        assert fitted == limits.maximum or predict_s(fitted + 1) > remaining_ns / 1e9


def test_a_straight_line_takes_four_questions() -> None:
    predict_s = CountingForecast(predict_colocated_s)
    shots = fit_shots(predict_s, 200_000_000, ShotLimits(16, 100_000))
    assert predict_s.calls <= 4
    assert isinstance(shots, int)
    assert predict_colocated_s(shots) <= 0.2 < predict_colocated_s(shots + 1)


def test_what_does_not_fit_says_what_the_fewest_would_take() -> None:
    rejection = fit_shots(predict_colocated_s, 1_000_000, ShotLimits(256, 1024))
    assert isinstance(rejection, Rejection)
    assert (rejection.limit, rejection.allowed) == ("shots_to_fit", 0.001)
    assert rejection.present == predict_colocated_s(256)
    assert "256 shots" in str(rejection)


@pytest.mark.parametrize(("minimum", "maximum"), [(0, 5), (6, 5)])
def test_a_range_without_shots_is_refused(minimum: int, maximum: int) -> None:
    with pytest.raises(SettingsError, match="must satisfy 1 ≤ minimum ≤ maximum"):
        ShotLimits(minimum, maximum)


def test_the_default_delay_stays_while_the_fewest_shots_fit() -> None:
    fit = fit_shots_and_delay(predict_colocated_s, 200_000_000, ShotLimits(100, 100_000), (250e-6, 0.0))
    assert isinstance(fit, Fit)
    assert (fit.rep_delay_s, fit.penalised) == (250e-6, False)
    assert fit.predicted_s == predict_colocated_s(fit.shots) <= 0.2


def test_a_shorter_delay_is_taken_to_fit_and_says_so() -> None:
    remaining_ns, limits = round(predict_colocated_s(1000, 100e-6) * 1e9) + 1, ShotLimits(1000, 2000)
    fit = fit_shots_and_delay(predict_colocated_s, remaining_ns, limits, (250e-6, 150e-6, 100e-6, 0.0))
    assert fit == Fit(1000, 100e-6, predict_colocated_s(1000, 100e-6), penalised=True)


def test_the_shortest_delay_is_the_one_that_refuses() -> None:
    rejection = fit_shots_and_delay(predict_colocated_s, 1_000_000, ShotLimits(1000, 2000), (250e-6, 0.0))
    assert isinstance(rejection, Rejection)
    assert rejection.present == predict_colocated_s(1000, 0.0)


@pytest.mark.parametrize("choices", [(), (1e-4, 1e-4), (1e-4, 2e-4)])
def test_delays_go_downward(choices: tuple[float, ...]) -> None:
    with pytest.raises(SettingsError, match="rep_delay choices"):
        fit_shots_and_delay(predict_colocated_s, 10**9, ShotLimits(1, 2), choices)
