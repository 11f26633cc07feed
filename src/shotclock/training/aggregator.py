"""Applies answers at a version where they hold: re-validate on a mismatch, then compare-and-swap, or drop."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeVar, get_args

from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.errors import SettingsError
from shotclock.domain.iteration import Applied
from shotclock.domain.outcome import Decision, Degraded, Done, Outcome, Winner
from shotclock.domain.ports import Kernel
from shotclock.training.audit import NO_AUDIT, Audit, Entry
from shotclock.training.checked import ValidatingKernel
from shotclock.training.revalidate import revalidate

T = TypeVar("T")

OnStale = Literal["revalidate", "drop", "blind"]
UNBOUNDED = sys.maxsize


class Decisions(Protocol):
    """Counts decisions; every Recorder does."""

    def record_decision(self, decision: Decision, stale: bool) -> None:
        """The aggregator decided on an answer."""


class Target(Protocol):
    """A model that deltas are tried and written on; every Workload is one."""

    def probe(self, delta: Delta) -> float:
        """Loss on the present batch after the delta minus before, the model left unchanged."""

    def apply(self, delta: Delta) -> None:
        """Writes the delta into the model."""


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """What would be written, whose it is, and the decision it would be."""

    delta: Delta
    winner: Winner
    decision: Decision


class Aggregator:
    """Owns a model's version. Every optimizer step and every applied delta moves it by one.

    on_stale: what becomes of an answer whose model has moved; "blind" applies it as it was computed (its
    decision is then "applied") and is there to show what that costs. stale_limit: versions an answer may lag
    before it is dropped, whatever on_stale says. loss_check: whether the loss on the present batch must fall
    too. audit: gets every decision, in order.

    Raises SettingsError on an on_stale that is none of the three, or a negative stale_limit.
    Any thread may offer. Whoever steps the model beside other threads does it through `run_step`.
    """

    def __init__(
        self,
        workload: Target,
        kernel: Kernel,
        on_stale: OnStale,
        recorder: Decisions,
        *,
        stale_limit: int = UNBOUNDED,
        loss_check: bool = True,
        audit: Audit = NO_AUDIT,
    ) -> None:
        if on_stale not in get_args(OnStale):
            raise SettingsError(f"on_stale: '{on_stale}' is none; known: {', '.join(get_args(OnStale))}")
        if stale_limit < 0:
            raise SettingsError(f"stale_limit: {stale_limit} versions is negative")
        self._workload = workload
        self._kernel = ValidatingKernel(kernel)
        self._on_stale = on_stale
        self._recorder = recorder
        self._stale_limit = stale_limit
        self._loss_check = loss_check
        self._audit = audit
        self._version = 0
        self._lock = threading.Lock()

    @property
    def version(self) -> int:
        """The model's present version."""
        return self._version

    def advance(self, to: int = 0) -> int:
        """The optimizer has moved the model, or a checkpoint has: to this version, or beyond it."""
        with self._lock:
            self._version = max(self._version + 1, to)
            return self._version

    def run_step(self, step: Callable[[], T]) -> T:
        """Runs a step of the optimizer that no delta may meet half-way."""
        with self._lock:
            result = step()
            self._version += 1
            return result

    def offer(self, proposal: Proposal, outcome: Outcome) -> Applied:
        """Decides on an answer and applies it if it holds; the decision is counted and in the audit."""
        version, base = self._version, proposal.subproblem.base_version
        ready = self._prepare(proposal, outcome, version)
        with self._lock:
            applied = self._settle(ready)
            self._write(proposal.subproblem.request_id, base, version, applied)
        self._recorder.record_decision(applied.decision, base != version)
        return applied

    def drop(self, request_id: str, base_version: int) -> Applied:
        """Decides against a call whose model is gone, a checkpoint having taken its place; counted too."""
        with self._lock:
            applied = Applied(Decision.DROPPED, Winner.INCUMBENT, self._version)
            self._write(request_id, base_version, self._version, applied)
        self._recorder.record_decision(applied.decision, stale=True)
        return applied

    def compare_and_swap(self, delta: Delta) -> bool:
        """Writes the delta if the model is still at its version."""
        with self._lock:
            return self._swap(delta)

    def _prepare(self, proposal: Proposal, outcome: Outcome, version: int) -> Applied | _Ready:
        """What to write at this version, or why nothing; reads the model, so a race makes it void."""
        if not isinstance(outcome, Done | Degraded):
            return Applied(Decision.ABANDONED, Winner.INCUMBENT, version)
        lag = version - proposal.subproblem.base_version
        if (lag and self._on_stale == "drop") or lag > self._stale_limit:
            return Applied(Decision.DROPPED, Winner.INCUMBENT, version)
        fresh = not lag or self._on_stale == "blind"
        surrogate = proposal.subproblem if fresh else self._kernel.rebuild(proposal, version)
        choice = revalidate(surrogate, outcome)
        if choice.winner is Winner.INCUMBENT:
            return Applied(Decision.REJECTED, choice.winner, version)
        delta = self._kernel.delta(proposal, choice.bits, version)
        if not len(delta.indices):
            return Applied(Decision.REJECTED, choice.winner, version)
        return _Ready(delta, choice.winner, Decision.APPLIED if fresh else Decision.REVALIDATED)

    def _settle(self, ready: Applied | _Ready) -> Applied:
        """With the lock held, so that neither the loss check nor the write meets another's."""
        if isinstance(ready, Applied):
            return replace(ready, version=self._version)
        if ready.delta.base_version != self._version:
            return Applied(Decision.CONFLICT, ready.winner, self._version)
        # a NaN is no improvement
        if self._loss_check and not self._workload.probe(ready.delta) < 0:
            return Applied(Decision.REJECTED, ready.winner, self._version)
        self._swap(ready.delta)
        return Applied(ready.decision, ready.winner, self._version)

    def _write(self, request_id: str, base: int, seen: int, applied: Applied) -> None:
        self._audit.append(Entry(request_id, applied.decision, applied.winner, base, seen, applied.version))

    def _swap(self, delta: Delta) -> bool:
        if delta.base_version != self._version:
            return False
        self._workload.apply(delta)
        self._version += 1
        return True
