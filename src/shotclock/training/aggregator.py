"""Applies answers at a version where they hold: re-validate on a mismatch, then compare-and-swap, or drop."""

from __future__ import annotations

import threading
from typing import Literal

from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.iteration import Applied
from shotclock.domain.outcome import Decision, Degraded, Done, Outcome, Winner
from shotclock.domain.ports import Kernel, Recorder, Workload
from shotclock.training.revalidate import revalidate


class Aggregator:
    """Owns a model's version. Every optimizer step and every applied delta moves it by one."""

    def __init__(
        self,
        workload: Workload,
        kernel: Kernel,
        on_stale: Literal["revalidate", "drop"],
        recorder: Recorder,
    ) -> None:
        self._workload = workload
        self._kernel = kernel
        self._on_stale = on_stale
        self._recorder = recorder
        self._version = 0
        self._lock = threading.Lock()

    @property
    def version(self) -> int:
        """The model's present version."""
        return self._version

    def advance(self) -> int:
        """The optimizer has moved the model."""
        with self._lock:
            self._version += 1
            return self._version

    def offer(self, proposal: Proposal, outcome: Outcome) -> Applied:
        """Decides on an answer and applies it if it holds; the decision is counted."""
        stale = proposal.subproblem.base_version != self._version
        decision, winner = self._decide(proposal, outcome, stale)
        self._recorder.decided(decision, stale)
        return Applied(decision, winner, self._version)

    def compare_and_swap(self, delta: Delta) -> bool:
        """Writes the delta if the model is still at its version."""
        with self._lock:
            if delta.base_version != self._version:
                return False
            self._workload.apply(delta)
            self._version += 1
            return True

    def _decide(self, proposal: Proposal, outcome: Outcome, stale: bool) -> tuple[Decision, Winner]:
        if not isinstance(outcome, Done | Degraded):
            return Decision.ABANDONED, Winner.INCUMBENT
        if stale and self._on_stale == "drop":
            return Decision.DROPPED, Winner.INCUMBENT
        version = self._version
        surrogate = self._kernel.rebuild(proposal, version) if stale else proposal.subproblem
        choice = revalidate(surrogate, outcome)
        if choice.winner is Winner.INCUMBENT:
            return Decision.REJECTED, choice.winner
        delta = self._kernel.delta(proposal, choice.bits, version)
        if not len(delta.indices) or self._workload.probe(delta) >= 0:
            return Decision.REJECTED, choice.winner
        if not self.compare_and_swap(delta):
            return Decision.CONFLICT, choice.winner
        return (Decision.REVALIDATED if stale else Decision.APPLIED), choice.winner
