"""What every kernel promises, whoever wrote it: the contract behind `shotclock.domain.ports.Kernel`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from shotclock.domain.ports import Kernel, Workload
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.solvers.fallback import Classical
from shotclock.training.loops import digits_mlp, medium, rerank

N = 8
Made = Callable[[], tuple[Workload, Kernel]]


def _make(build: Callable[[int], Workload], name: str) -> Made:
    def make() -> tuple[Workload, Kernel]:
        workload = build(0)
        return workload, workload.kernel(name, N)

    return make


KERNELS = [
    pytest.param(_make(digits_mlp.build_rounded, "rounding"), id="rounding"),
    pytest.param(_make(medium.build, "rounding"), id="rounding-caught"),
    pytest.param(_make(digits_mlp.build_quantized, "task_rounding"), id="task_rounding"),
    pytest.param(_make(digits_mlp.build_gated, "prune_mask"), id="prune_mask"),
    pytest.param(_make(digits_mlp.build, "qat_flip"), id="qat_flip"),
    pytest.param(_make(rerank.build, "diverse_rerank"), id="diverse_rerank"),
]
pytestmark = pytest.mark.parametrize("make", KERNELS)


def bits(seed: int) -> Bits:
    return np.random.default_rng(seed).integers(0, 2, N, dtype=np.uint8)


def equal(subproblem: Subproblem, other: Subproblem) -> bool:
    return np.allclose(subproblem.quadratic, other.quadratic, atol=1e-7) and np.allclose(
        subproblem.linear, other.linear, atol=1e-7
    )


def test_a_proposal_carries_what_it_was_asked_with(make: Made) -> None:
    _, kernel = make()
    proposed = kernel.propose(11, 13).subproblem
    assert (proposed.n, proposed.kind, proposed.base_version, proposed.budget_ns) == (N, kernel.name, 11, 13)
    assert np.abs(proposed.linear).max() > 0.0


def test_proposing_rebuilding_and_making_a_delta_leave_the_model_alone(make: Made) -> None:
    workload, kernel = make()
    loss_before = workload.evaluate()
    proposal = kernel.propose(0, 1)
    kernel.rebuild(proposal, 1)
    kernel.delta(proposal, np.ones(N, np.uint8), 1)
    assert workload.evaluate() == loss_before


def test_changing_nothing_changes_nothing(make: Made) -> None:
    _, kernel = make()
    proposal = kernel.propose(0, 1)
    assert len(kernel.delta(proposal, np.zeros(N, np.uint8), 0).indices) == 0


def test_rebuilding_on_the_same_model_is_the_same_subproblem(make: Made) -> None:
    _, kernel = make()
    proposal = kernel.propose(3, 1)
    again = kernel.rebuild(proposal, 4)
    assert equal(again, proposal.subproblem)
    assert (again.base_version, again.request_id) == (4, proposal.subproblem.request_id)


def test_what_was_applied_is_applied_once(make: Made) -> None:
    """After a delta the rebuilt surrogate knows: its bits bring nothing more, and their delta is empty."""
    workload, kernel = make()
    proposal = kernel.propose(0, 1)
    chosen = Classical().solve(proposal.subproblem)
    workload.apply(kernel.delta(proposal, chosen, 0))
    assert len(kernel.delta(proposal, chosen, 1).indices) == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_delta_names_its_version_and_finite_changes(make: Made, seed: int) -> None:
    _, kernel = make()
    proposal = kernel.propose(0, 1)
    delta = kernel.delta(proposal, bits(seed), 7)
    assert delta.base_version == 7
    assert delta.indices.shape == delta.values.shape
    assert delta.values.dtype == np.float32
    assert np.isfinite(delta.values).all()
    assert len(set(delta.indices.tolist())) == len(delta.indices) <= 2 * N


def test_each_proposal_has_a_separate_identity(make: Made) -> None:
    workload, kernel = make()
    names = set()
    for version in range(4):
        names.add(kernel.propose(version, 1).subproblem.request_id)
        workload.step()
    assert len(names) == 4


def test_it_says_whether_the_tasks_loss_must_agree(make: Made) -> None:
    _, kernel = make()
    assert isinstance(kernel.loss_check, bool)
