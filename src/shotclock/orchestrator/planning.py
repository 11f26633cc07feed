"""Chooses the shots, and the rep_delay if allowed, that fit a budget, before the submit. Pure, no I/O."""

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
    """The fewest shots that are useful and the most that are allowed; equal limits fix the number.

    Raises SettingsError unless 1 ≤ minimum ≤ maximum.
    """

    minimum: int
    maximum: int

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.maximum:
            raise SettingsError(
                f"shots: must satisfy 1 ≤ minimum ≤ maximum (got {self.minimum} and {self.maximum})"
            )

    def lower(self, most: int) -> ShotLimits:
        """These limits with at most so many shots; never more than before."""
        return ShotLimits(min(self.minimum, most), min(self.maximum, most))


@dataclass(frozen=True, slots=True)
class Fit:
    """How to run a job so that it fits its budget.

    shots: number of shots.
    rep_delay_s: seconds; None is the device's default.
    predicted_s: predicted p95 of submit to samples, seconds.
    penalised: the rep_delay is below the device's default, so qubits may not have relaxed between shots; the
        fidelity penalty must be reported with the samples.
    """

    shots: int
    rep_delay_s: float | None
    predicted_s: float
    penalised: bool


def fit_shots(predict_s: Callable[[int], float], remaining_ns: int, limits: ShotLimits) -> int | Rejection:
    """The most shots whose predicted p95 fits the remaining budget; a rejection if even the fewest do not.

    predict_s: p95 of submit to samples for a number of shots, seconds, non-decreasing. It is called 4 times
        if it is linear, as QPU time is, and O(log(maximum − minimum)) times at worst.
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

    A shorter delay costs fidelity, so it is used only if no longer one fits, and never to gain shots. The
    rejection is that of the shortest delay.

    predict_s: p95 for a number of shots and a rep_delay, seconds.
    rep_delay_choices_s: the allowed delays, the device's default first, in descending order.

    Raises SettingsError if the choices are not in descending order.
    """
    choices = rep_delay_choices_s
    if not choices or any(after >= before for before, after in pairwise(choices)):
        raise SettingsError(
            f"rep_delay choices: must start with the default, each shorter than the one before "
            f"(got {choices})"
        )
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
            # Bisect every third time: interpolation alone converges slowly on a curved prediction.
            middle = (low[0] + high[0]) // 2
        middle = min(max(middle, low[0] + 1), high[0] - 1)
        seconds = predict_s(middle)
        if seconds <= budget_s:
            low = (middle, seconds)
        else:
            high = (middle, seconds)
    return low[0]


def _does_not_fit(shots: int, needed_s: float, budget_s: float) -> Rejection:
    """The rejection; a retry can succeed only after the excess, as far as it is work ahead, is done."""
    return Rejection(
        SHOTS_TO_FIT, budget_s, needed_s, f"s predicted p95 of {shots} shots", needed_s - budget_s
    )
