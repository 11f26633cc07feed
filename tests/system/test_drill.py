"""The mission's failure scenario: it happens without the protections, and not with them."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from shotclock.app.drills import late_answers
from shotclock.app.drills.late_answers import ENOUGH, OFF, ON, ROUNDED, StaleUpdates, stale_updates


@pytest.fixture(scope="module")
def drilled() -> StaleUpdates:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return stale_updates(0, lambda _: None)
    finally:
        torch.set_num_threads(threads)


def test_stale_updates_ruin_the_layer_without_protections_and_not_with_them(drilled: StaleUpdates) -> None:
    unprotected, protected = drilled.rounding
    assert unprotected.loss_ratio > ENOUGH * protected.loss_ratio
    # better than nearest rounding, where both began
    assert protected.loss_ratio < 0.2
    assert drilled.has_passed
    assert drilled.verdict.startswith("PROTECTED: Without protections")


def test_no_harmful_answer_is_applied_with_protections(drilled: StaleUpdates) -> None:
    unprotected, protected = drilled.rounding
    assert (unprotected.harmful > 0, protected.harmful) == (True, 0)
    # not by keeping every answer out, nor by taking the QPU away
    assert protected.applied > 0
    assert protected.answers["Done"] > 0
    assert all(after <= before * (1 + ROUNDED) for before, after in pairwise(protected.course))


def test_the_injected_delays_are_what_the_drill_says(drilled: StaleUpdates) -> None:
    unprotected, protected = drilled.rounding
    assert unprotected.answered_longest_ms > 10 * ON.budget_ms
    assert unprotected.answered_longest_ms < OFF.budget_ms
    # an answer in time is met at the next boundary, an iteration later at most
    assert protected.answered_longest_ms <= ON.budget_ms + 1e3 * late_answers.STEP_S


def test_loss_curves_of_the_flips_are_in_the_result(drilled: StaleUpdates) -> None:
    alone, unprotected, protected = drilled.flipping
    assert [arm.arm for arm in drilled.flipping] == ["no calls", "unprotected", "protected"]
    assert len({arm.course[0] for arm in drilled.flipping}) == 1
    assert len({len(arm.course) for arm in drilled.flipping}) == 1
    assert (alone.applied, unprotected.applied > 0, protected.applied > 0) == (0, True, True)
    assert protected.course[-1] < unprotected.course[-1]


def test_a_seed_gives_the_same_drill_again(drilled: StaleUpdates) -> None:
    torch.set_num_threads(1)
    assert late_answers._round_weights(ON, 0) == drilled.rounding[1]
