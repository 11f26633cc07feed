"""Answers are applied at a version where they hold, or dropped; every decision is counted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import random_subproblem
from shotclock.domain.circuit import Samples
from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.domain.outcome import (
    Answer,
    DeadlinePassed,
    Decision,
    Degraded,
    Done,
    Late,
    Outcome,
    Provenance,
    Winner,
)
from shotclock.domain.ports import Kernel
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.training.aggregator import Aggregator, OnStale
from shotclock.training.audit import WRITES, AuditEntry, AuditFile, find_violations
from shotclock.training.revalidate import revalidate

N = 5
PROVENANCE = Provenance("scripted", emulated=True, base_version=0)


@dataclass
class Vector:
    """A Workload whose model is one vector of n zeros and whose loss the test sets."""

    probe_result: float = -1.0
    name: str = "vector"
    samples_per_step: int = 1
    values: list[float] = field(default_factory=lambda: [0.0] * N)
    applied: list[int] = field(default_factory=list)

    def step(self) -> float:
        return 0.0

    def evaluate(self) -> float:
        return 0.0

    def probe(self, delta: Delta) -> float:
        del delta
        return self.probe_result

    def apply(self, delta: Delta) -> None:
        self.applied.append(delta.base_version)
        for index, value in zip(delta.indices, delta.values, strict=True):
            self.values[int(index)] += float(value)

    def kernel(self, name: str, n: int) -> Kernel:
        raise NotImplementedError


@dataclass
class DriftKernel:
    """A Kernel whose surrogate is another one at each version."""

    name: str = "shifting"
    loss_check = True
    rebuilt: list[int] = field(default_factory=list)
    meanwhile: Callable[[], object] = int

    def propose(self, base_version: int, budget_ns: int) -> Proposal:
        subproblem = random_subproblem(N, base_version)
        return Proposal(Subproblem(subproblem.quadratic, subproblem.linear, base_version=base_version), None)

    def rebuild(self, proposal: Proposal, version: int) -> Subproblem:
        self.rebuilt.append(version)
        return self.propose(version, 0).subproblem

    def delta(self, proposal: Proposal, bits: Bits, version: int) -> Delta:
        self.meanwhile()
        chosen = np.flatnonzero(bits)
        return Delta(version, "w", chosen, np.ones(len(chosen), np.float32))


def system(on_stale: OnStale = "revalidate", **options: Any) -> tuple[Aggregator, Vector, DriftKernel]:
    workload, kernel = Vector(), DriftKernel()
    return Aggregator(workload, kernel, on_stale, **options), workload, kernel


def best(subproblem: Subproblem) -> Bits:
    pool = list_all_bits()
    bits: Bits = pool[int(np.argmin(subproblem.energies(pool)))]
    return bits


def list_all_bits() -> Bits:
    return ((np.arange(2**N)[:, None] >> np.arange(N)) & 1).astype(np.uint8)


def done(subproblem: Subproblem, pool: Bits | None = None) -> Done:
    rows = list_all_bits() if pool is None else pool
    bits = best(subproblem)
    answer = Answer(bits, subproblem.energy(bits), Winner.CLASSICAL, "exact")
    return Done(answer, Samples(rows, np.ones(len(rows), np.int64)), answer, PROVENANCE)


def test_a_fresh_answer_is_applied_and_moves_the_version() -> None:
    aggregator, workload, kernel = system()
    proposal = kernel.propose(aggregator.version, 0)
    applied = aggregator.offer(proposal, done(proposal.subproblem))
    assert applied.decision is Decision.APPLIED
    assert applied.version == aggregator.version == 1
    assert workload.values == [float(bit) for bit in best(proposal.subproblem)]
    assert kernel.rebuilt == []
    assert not applied.stale


def test_a_stale_answer_is_scored_again_on_the_present_model() -> None:
    aggregator, workload, kernel = system()
    proposal = kernel.propose(aggregator.version, 0)
    for _ in range(3):
        aggregator.advance()
    applied = aggregator.offer(proposal, done(proposal.subproblem))
    assert applied.decision is Decision.REVALIDATED
    assert kernel.rebuilt == [3]
    present = kernel.rebuild(proposal, 3)
    assert workload.values == [float(bit) for bit in best(present)]
    assert workload.applied == [3]
    assert applied.stale


def test_the_policy_can_drop_what_is_stale() -> None:
    aggregator, workload, kernel = system("drop")
    proposal = kernel.propose(aggregator.version, 0)
    aggregator.advance()
    applied = aggregator.offer(proposal, done(proposal.subproblem))
    assert applied.decision is Decision.DROPPED
    assert workload.applied == []
    assert applied.stale


def test_the_loss_check_refuses_a_change_that_does_not_lower_the_loss() -> None:
    aggregator, workload, kernel = system()
    workload.probe_result = 0.0
    proposal = kernel.propose(0, 0)
    assert aggregator.offer(proposal, done(proposal.subproblem)).decision is Decision.REJECTED
    assert (workload.applied, aggregator.version) == ([], 0)


def test_a_call_without_an_answer_is_abandoned() -> None:
    aggregator, workload, kernel = system()
    late: Outcome = Late(DeadlinePassed(1), PROVENANCE)
    proposal = kernel.propose(0, 0)
    aggregator.advance()
    applied = aggregator.offer(proposal, late)
    assert applied.decision is Decision.ABANDONED
    assert not applied.stale  # no answer was computed, on an older model or any other
    assert workload.applied == []


def test_the_swap_loses_to_whoever_moved_the_model_first() -> None:
    aggregator, workload, kernel = system()
    proposal = kernel.propose(0, 0)
    # another worker's step lands while this answer is made ready
    kernel.meanwhile = aggregator.advance
    applied = aggregator.offer(proposal, done(proposal.subproblem))
    assert applied.decision is Decision.CONFLICT
    assert applied.stale  # it was fresh when it was offered, and the model moved before it was written
    assert workload.applied == []


def test_racing_writers_apply_each_version_once() -> None:
    aggregator, workload, kernel = system()

    def race() -> None:
        for _ in range(200):
            proposal = kernel.propose(aggregator.version, 0)
            aggregator.offer(proposal, done(proposal.subproblem))

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert workload.applied == sorted(set(workload.applied))
    assert aggregator.version == len(workload.applied)


def test_blind_applies_what_was_computed_on_the_older_model() -> None:
    aggregator, workload, kernel = system("blind")
    proposal = kernel.propose(aggregator.version, 0)
    for _ in range(3):
        aggregator.advance()
    applied = aggregator.offer(proposal, done(proposal.subproblem))
    assert applied.decision is Decision.APPLIED
    assert kernel.rebuilt == []
    assert workload.values == [float(bit) for bit in best(proposal.subproblem)]
    # it is seen in the figures: applied, and stale
    assert applied.stale


@pytest.mark.parametrize(("lag", "decision"), [(2, Decision.REVALIDATED), (3, Decision.DROPPED)])
def test_an_answer_beyond_the_staleness_bound_is_dropped(lag: int, decision: Decision) -> None:
    aggregator, workload, kernel = system(stale_limit=2)
    proposal = kernel.propose(aggregator.version, 0)
    for _ in range(lag):
        aggregator.advance()
    assert aggregator.offer(proposal, done(proposal.subproblem)).decision is decision
    assert len(workload.applied) == (decision is Decision.REVALIDATED)


def test_without_a_loss_check_the_surrogate_alone_decides() -> None:
    aggregator, workload, kernel = system(loss_check=False)
    workload.probe_result = 1.0
    proposal = kernel.propose(0, 0)
    assert aggregator.offer(proposal, done(proposal.subproblem)).decision is Decision.APPLIED


def test_a_loss_that_is_nan_refuses_the_change() -> None:
    aggregator, workload, kernel = system()
    workload.probe_result = float("nan")
    proposal = kernel.propose(0, 0)
    assert aggregator.offer(proposal, done(proposal.subproblem)).decision is Decision.REJECTED
    assert workload.applied == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"on_stale": "sometimes"},
            "on_stale: invalid value 'sometimes'; expected one of revalidate, drop, blind",
        ),
        ({"on_stale": "drop", "stale_limit": -1}, r"stale_limit: must be at least 0 versions \(got -1\)"),
    ],
)
def test_a_policy_for_stale_answers_that_is_none_is_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        system(**options)


def test_a_checkpoint_moves_the_version_on_and_never_back() -> None:
    aggregator, _, _ = system()
    assert aggregator.advance(to=40) == 40
    assert aggregator.advance(to=7) == 41


def test_the_audit_holds_every_decision_in_order(tmp_path: Path) -> None:
    audit = AuditFile(tmp_path / "audit.jsonl")
    aggregator, _, kernel = system(audit=audit)
    first, second = kernel.propose(0, 0), kernel.propose(0, 0)
    aggregator.offer(first, done(first.subproblem))
    aggregator.offer(second, done(second.subproblem))
    aggregator.offer(first, Late(DeadlinePassed(1), PROVENANCE))
    entries = audit.entries()
    assert [entry.decision for entry in entries] == [
        Decision.APPLIED,
        Decision.REVALIDATED,
        Decision.ABANDONED,
    ]
    assert [(entry.base_version, entry.seen_version, entry.version) for entry in entries] == [
        (0, 0, 1),
        (0, 1, 2),
        (0, 2, 2),
    ]
    assert find_violations(entries) == []
    # what was written stays when another process goes on with the same file
    AuditFile(tmp_path / "audit.jsonl").append(entries[0])
    assert len(audit.entries()) == 4


def test_an_audit_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot write the audit log"):
        AuditFile(tmp_path / "none" / "audit.jsonl").append(
            AuditEntry("r", Decision.APPLIED, Winner.QUANTUM, 0, 0, 1)
        )


@pytest.mark.parametrize(
    ("entries", "violation_part"),
    [
        ([(0, 0, 1), (0, 0, 1)], "wrote over 0 when 1 was there"),
        ([(0, 1, 3)], "wrote version 3 over 1"),
        ([(2, 1, 2)], "computed on 2, decided on 1"),
        ([(0, 4, 5), (0, 3, 4)], "left version 4 after 5"),
    ],
)
def test_a_broken_order_is_found(entries: list[tuple[int, int, int]], violation_part: str) -> None:
    entries_made = [AuditEntry("r", Decision.REVALIDATED, Winner.QUANTUM, *versions) for versions in entries]
    assert any(violation_part in violation for violation in find_violations(entries_made))


class ListAudit:
    """An Audit in memory."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    def append(self, entry: AuditEntry) -> None:
        self.entries.append(entry)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["step", "offer", "late offer"]), max_size=12), min_size=2, max_size=4)
)
def test_racing_workers_leave_a_linearizable_history(plans: list[list[str]]) -> None:
    """I3: whatever the threads' order, each version is written once and the model holds exactly that."""
    audit = ListAudit()
    aggregator, workload, kernel = system(audit=audit)
    stepped: list[int] = []

    def step() -> None:
        # a delta that met a step half-way would be seen here
        before = len(workload.applied)
        stepped.append(aggregator.version)
        assert len(workload.applied) == before

    def work(plan: list[str]) -> None:
        for action in plan:
            if action == "step":
                aggregator.run_step(step)
                continue
            proposal = kernel.propose(aggregator.version, 0)
            if action == "late offer":
                aggregator.run_step(step)
            aggregator.offer(proposal, done(proposal.subproblem))

    threads = [threading.Thread(target=work, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert find_violations(audit.entries) == []
    written = [entry.seen_version for entry in audit.entries if entry.decision in WRITES]
    # steps and writes together are the versions 0, 1, 2, … each moved from once
    assert sorted(written + stepped) == list(range(aggregator.version))
    assert workload.applied == written


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 2**N - 1))
def test_a_revalidated_choice_is_never_worse_than_classical_or_nothing(
    present: int, past: int, sampled: int
) -> None:
    surrogate, original = random_subproblem(N, present), random_subproblem(N, past)
    outcome = done(original, list_all_bits()[sampled : sampled + 1])
    choice = revalidate(surrogate, outcome)
    assert outcome.classical is not None
    floor = min(surrogate.offset, surrogate.energy(outcome.classical.bits))
    assert choice.energy <= floor + 1e-12
    assert choice.energy == pytest.approx(surrogate.energy(choice.bits))


def test_a_degraded_answer_is_scored_again_too() -> None:
    surrogate = random_subproblem(N, 3)
    worst = list_all_bits()[int(np.argmax(surrogate.energies(list_all_bits())))]
    degraded = Degraded(Answer(worst, 0.0, Winner.CLASSICAL, "exact"), DeadlinePassed(1), PROVENANCE)
    assert revalidate(surrogate, degraded).winner is Winner.INCUMBENT


def test_ties_go_to_classical() -> None:
    surrogate = random_subproblem(N, 4)
    assert revalidate(surrogate, done(surrogate)).winner is Winner.CLASSICAL
