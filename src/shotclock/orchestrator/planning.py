"""Shots, and where allowed the rep_delay, that fit a budget: decided before anything is submitted. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import SettingsError
from shotclock.domain.outcome import SHOTS_TO_FIT, Rejection


@dataclass(frozen=True, slots=True)
class ShotLimits:
    """The fewest shots that are of use and the most that may be taken; equal, the number is fixed.

    Raises SettingsError unless 1 ≤ minimum ≤ maximum.
    """

    minimum: int
    maximum: int

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.maximum:
            raise SettingsError(f"shots: at least {self.minimum} and at most {self.maximum} is no range")


@dataclass(frozen=True, slots=True)
class Fit:
    """How a job is run so that its p95, predicted_s, fits its budget; rep_delay_s None: the default.

    penalised: the rep_delay is below the device's default, so qubits may not have relaxed between
    shots and the samples carry a fidelity penalty, which must be said wherever they are shown.
    """

    shots: int
    rep_delay_s: float | None
    predicted_s: float
    penalised: bool


def fit_shots(predict_s: Callable[[int], float], remaining_ns: int, limits: ShotLimits) -> int | Rejection:
    """The most shots whose predicted p95 fits the remaining budget, or that even the fewest do not.

    predict_s: p95 of submit to samples for so many shots, seconds, never falling with them. It is
    asked 4 times where it is a straight line, as QPU time is, and O(log(maximum − minimum)) at worst.
    """
    budget_s = remaining_ns / NS_PER_S
    most_s = predict_s(limits.maximum)
    if most_s <= budget_s:
        return limits.maximum
    least_s = predict_s(limits.minimum)
    if least_s > budget_s:
        return _does_not_fit(limits.minimum, least_s, budget_s)
    return _crossing(predict_s, budget_s, (limits.minimum, least_s), (limits.maximum, most_s))


def fit_shots_and_delay(
    predict_s: Callable[[int, float], float],
    remaining_ns: int,
    limits: ShotLimits,
    rep_delay_choices_s: tuple[float, ...],
) -> Fit | Rejection:
    """`fit_shots` at the first of these delays at which the fewest shots fit.

    rep_delay_choices_s: what the user allows, the device's default first and then downward; a shorter
    one is taken only where a longer one leaves no room, because it costs fidelity, and never for more
    shots. predict_s takes shots and rep_delay. The rejection is that of the shortest delay. Raises
    SettingsError on choices that are not in descending order.
    """
    choices = rep_delay_choices_s
    if not choices or any(after >= before for before, after in pairwise(choices)):
        raise SettingsError(f"rep_delay choices {choices}: wants the default first, then shorter ones")
    for rep_delay_s in choices:
        fitted = fit_shots(partial(_at, predict_s, rep_delay_s), remaining_ns, limits)
        if isinstance(fitted, int):
            break
    if isinstance(fitted, Rejection):
        return fitted
    return Fit(fitted, rep_delay_s, predict_s(fitted, rep_delay_s), rep_delay_s < choices[0])


def _at(predict_s: Callable[[int, float], float], rep_delay_s: float, shots: int) -> float:
    return predict_s(shots, rep_delay_s)


def _crossing(
    predict_s: Callable[[int], float],
    budget_s: float,
    low: tuple[int, float],
    high: tuple[int, float],
) -> int:
    """The most shots that fit, between `low`, which does, and `high`, which does not (shots, seconds)."""
    probes = 0
    while high[0] - low[0] > 1:
        probes += 1
        if probes % 3:
            share = (budget_s - low[1]) / (high[1] - low[1])
            middle = low[0] + int(share * (high[0] - low[0]))
        else:
            # A prediction far from a straight line must not turn this into a walk.
            middle = (low[0] + high[0]) // 2
        middle = min(max(middle, low[0] + 1), high[0] - 1)
        seconds = predict_s(middle)
        if seconds <= budget_s:
            low = (middle, seconds)
        else:
            high = (middle, seconds)
    return low[0]


def _does_not_fit(shots: int, needed_s: float, budget_s: float) -> Rejection:
    """Retrying helps only as far as the prediction includes work ahead: once so much of it is done."""
    return Rejection(
        SHOTS_TO_FIT, budget_s, needed_s, f"s predicted p95 of {shots} shots", needed_s - budget_s
    )
