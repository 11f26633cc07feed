"""Applies answers at a version where they hold: revalidate on a mismatch, then compare-and-swap, or drop."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeVar, get_args

from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.errors import DeltaError, KernelError, SettingsError
from shotclock.domain.iteration import Applied
from shotclock.domain.outcome import ALWAYS_STALE, Decision, Degraded, Done, Outcome, Winner
from shotclock.domain.ports import Kernel
from shotclock.training.audit import NO_AUDIT, Audit, AuditEntry
from shotclock.training.checked import ValidatingKernel
from shotclock.training.revalidate import revalidate

T = TypeVar("T")

OnStale = Literal["revalidate", "drop", "blind"]
UNBOUNDED = sys.maxsize


class UpdateTarget(Protocol):
    """A model that deltas are tested on and applied to; every Workload is one."""

    def probe(self, delta: Delta) -> float:
        """Loss on the present batch after the delta minus before, the model left unchanged."""

    def apply(self, delta: Delta) -> None:
        """Writes the delta into the model."""


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """A delta to be written, who found it, and the decision to record if it is written."""

    delta: Delta
    winner: Winner
    decision: Decision


class Aggregator:
    """Owns a model's version. Every optimizer step and every applied delta raises it by one.

    on_stale: how to treat an answer whose model has moved: "revalidate", "drop", or "blind", which applies
        it unchecked (its decision is then "applied") to measure what that costs.
    stale_limit: an answer that lags by more versions is dropped, whatever on_stale says.
    loss_check: whether the loss on the present batch must fall too.
    audit: receives every decision, in order.

    Raises SettingsError on an invalid on_stale or a negative stale_limit.
    Any thread may call `offer`. A thread that steps the model must then do so through `run_step`.
    """

    def __init__(
        self,
        workload: UpdateTarget,
        kernel: Kernel,
        on_stale: OnStale,
        *,
        stale_limit: int = UNBOUNDED,
        loss_check: bool = True,
        audit: Audit = NO_AUDIT,
    ) -> None:
        if on_stale not in get_args(OnStale):
            choices = ", ".join(get_args(OnStale))
            raise SettingsError(f"on_stale: invalid value '{on_stale}'; expected one of {choices}")
        if stale_limit < 0:
            raise SettingsError(f"stale_limit: must be at least 0 versions (got {stale_limit})")
        self._workload = workload
        self.kernel = ValidatingKernel(kernel)
        self._on_stale = on_stale
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
        """Raises the version after an optimizer step or a loaded checkpoint: by one, or to `to` if higher."""
        with self._lock:
            # Never down: a loaded checkpoint may carry an older version that answers in flight were based on.
            self._version = max(self._version + 1, to)
            return self._version

    def run_step(self, step: Callable[[], T]) -> T:
        """Runs an optimizer step and raises the version."""
        # Under the lock, so that no delta is written in the middle of a step.
        with self._lock:
            result = step()
            self._version += 1
            return result

    def offer(self, proposal: Proposal, outcome: Outcome) -> Applied:
        """Decides on an answer and applies it if it holds; audits the decision.

        Raises KernelError if the kernel fails on the answer, which is then rejected and audited too.
        """
        version = self._version
        try:
            # Rebuilding the surrogate takes long, so it runs outside the lock; `_decide` detects a race.
            return self._conclude(proposal, version, self._prepare(proposal, outcome, version))
        except KernelError:
            self._conclude(proposal, version, Applied(Decision.REJECTED, Winner.INCUMBENT, version))
            raise
        except DeltaError as error:
            self._conclude(proposal, version, Applied(Decision.REJECTED, Winner.INCUMBENT, version))
            raise KernelError(f"kernel '{self.kernel.name}': {error}") from error

    def drop(self, request_id: str, base_version: int) -> Applied:
        """Drops a call whose model was replaced by a checkpoint; audits the decision."""
        with self._lock:
            applied = Applied(Decision.DROPPED, Winner.INCUMBENT, self._version, stale=True)
            self._record(request_id, base_version, self._version, applied)
        return applied

    def compare_and_swap(self, delta: Delta) -> bool:
        """Writes the delta if the model is still at its version."""
        with self._lock:
            return self._swap(delta)

    def _conclude(self, proposal: Proposal, version: int, ready: Applied | _Ready) -> Applied:
        """Decides and audits; raises DeltaError before that if the model cannot hold the delta."""
        base = proposal.subproblem.base_version
        with self._lock:
            applied = self._decide(ready)
            has_answer = applied.decision is not Decision.ABANDONED
            is_stale = (has_answer and base != version) or applied.decision in ALWAYS_STALE
            applied = replace(applied, stale=is_stale)
            self._record(proposal.subproblem.request_id, base, version, applied)
        return applied

    def _prepare(self, proposal: Proposal, outcome: Outcome, version: int) -> Applied | _Ready:
        """The delta to write at this version, or the decision not to; void if the model moves meanwhile."""
        if not isinstance(outcome, Done | Degraded):
            # Shed, late and failed calls carry no answer.
            return Applied(Decision.ABANDONED, Winner.INCUMBENT, version)
        lag = version - proposal.subproblem.base_version
        if (lag and self._on_stale == "drop") or lag > self._stale_limit:
            return Applied(Decision.DROPPED, Winner.INCUMBENT, version)
        # A fresh answer was computed on this very model, so its own surrogate is still exact.
        fresh = not lag or self._on_stale == "blind"
        surrogate = proposal.subproblem if fresh else self.kernel.rebuild(proposal, version)
        choice = revalidate(surrogate, outcome)
        if choice.winner is Winner.INCUMBENT:
            return Applied(Decision.REJECTED, choice.winner, version)
        delta = self.kernel.delta(proposal, choice.bits, version)
        if not len(delta.indices):
            # Every chosen step has been made meanwhile: writing nothing must not move the version.
            return Applied(Decision.REJECTED, choice.winner, version)
        return _Ready(delta, choice.winner, Decision.APPLIED if fresh else Decision.REVALIDATED)

    def _decide(self, ready: Applied | _Ready) -> Applied:
        """Decides and writes; the caller holds the lock, so that check and write meet the same model."""
        if isinstance(ready, Applied):
            return replace(ready, version=self._version)
        if ready.delta.base_version != self._version:
            # The model moved after `_prepare` read it, so the delta was checked against another model.
            return Applied(Decision.CONFLICT, ready.winner, self._version)
        # `not < 0`, so that a NaN counts as no improvement.
        if self._loss_check and not self._workload.probe(ready.delta) < 0:
            return Applied(Decision.REJECTED, ready.winner, self._version)
        self._swap(ready.delta)
        return Applied(ready.decision, ready.winner, self._version)

    def _record(self, request_id: str, base: int, current: int, applied: Applied) -> None:
        self._audit.append(
            AuditEntry(request_id, applied.decision, applied.winner, base, current, applied.version)
        )

    def _swap(self, delta: Delta) -> bool:
        if delta.base_version != self._version:
            return False
        self._workload.apply(delta)
        self._version += 1
        return True
