"""The calls of one training loop: when to make one, when to apply its answer, when to back off.

`inline` waits for a call at its step boundary; `overlap` makes the call, continues training, and applies the
answer at the first boundary after it arrived; `offline` keeps answers until an epoch ends. After a rejection,
no call is made until its retry_after_s has passed; training continues meanwhile.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from shotclock.domain.budget import NS_PER_MS, NS_PER_S
from shotclock.domain.delta import Proposal
from shotclock.domain.errors import KernelError, SettingsError
from shotclock.domain.iteration import Applied, CallCounts, FinishedCall
from shotclock.domain.memory import NO_LIMIT, MemoryLimit
from shotclock.domain.outcome import (
    DOES_NOT_FIT,
    DeadlinePassed,
    Decision,
    Degraded,
    Done,
    Late,
    Outcome,
    Rejection,
    Shed,
    Winner,
)
from shotclock.domain.ports import Caller, Clock, Pending
from shotclock.domain.recorders import StageRecorder
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.trace import Span, SpanName, Tracer, describe_outcome
from shotclock.domain.trace_context import TraceContext
from shotclock.training.aggregator import Aggregator
from shotclock.training.mode import Mode, ModeChooser

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """When and how to make calls.

    every: steps between calls.
    mode: how a call meets training; "auto" starts from predicted_p95_s and follows the measured latency,
        inline if its p95 fits budget_ns.
    budget_ns: each call's deadline, nanoseconds.
    wait_limit_ns: the deadline of calls that training does not wait for, nanoseconds; 0 is budget_ns.
    at_once: calls made at a due step (independent rows of a layer, which the orchestrator packs on one chip).
    in_flight: most calls in flight; due calls beyond it are skipped and counted.
    epoch: steps between the points at which `offline` applies answers.
    predicted_p95_s: the latency that "auto" starts from, seconds.
    horizon_s: how long an overlapped answer may take under "auto", seconds.

    Raises SettingsError on an invalid value.
    """

    every: int
    mode: Mode | Literal["auto"]
    budget_ns: int
    wait_limit_ns: int = 0
    at_once: int = 1
    in_flight: int = 32
    epoch: int = 100
    predicted_p95_s: float = 0.0
    horizon_s: float = math.inf

    def __post_init__(self) -> None:
        if self.mode not in (*get_args(Mode), "auto"):
            choices = ", ".join((*get_args(Mode), "auto"))
            raise SettingsError(f"policy.mode: invalid value '{self.mode}'; expected one of {choices}")
        for name in ("every", "budget_ns", "at_once", "in_flight", "epoch"):
            if getattr(self, name) < 1:
                raise SettingsError(f"policy.{name}: must be at least 1 (got {getattr(self, name)})")
        if self.wait_limit_ns < 0:
            raise SettingsError(
                f"policy.wait_limit_ns: must be at least 0 (got {self.wait_limit_ns}); 0 is budget_ns"
            )


@dataclass(slots=True, eq=False)
class _PendingCall:
    """A call in flight.

    step: the step it was due at.
    boundary_ns: when that step's boundary was.
    began_ns: when its proposal began.
    asked_ns: when it had been sent.
    inline: whether training waits for it.
    proposed: the timing of its proposal.
    proposal: the subproblem, and how to apply its answer.
    pending: its answer.
    void: the model was replaced since, so its answer must be dropped.
    span: its span; None without traces.
    """

    step: int
    boundary_ns: int
    began_ns: int
    asked_ns: int
    inline: bool
    proposed: StageTiming
    proposal: Proposal
    pending: Pending
    void: bool = False
    span: Span | None = None


ABANDONED = "abandoned"
"""Why the span of a call ended whose answer nobody waits for."""


def raise_error(error: KernelError) -> None:
    """For runs that mean nothing without their kernel."""
    raise error


class UncountedStages:
    """A StageRecorder that counts nothing."""

    def record_stage(self, timing: StageTiming, trace: TraceContext | None = None) -> None:
        """See `StageRecorder.record_stage`."""


UNCOUNTED = UncountedStages()


class Calls:
    """Makes and completes calls; `ended` receives each finished call, on the training thread.

    failed: receives what the kernel failed with; if it returns, the call is skipped or its answer rejected.
    recorder: counts the time that proposing and applying took.
    memory: bounds the calls in flight, in addition to the policy.
    tracer: makes a span of each call; None without traces.
    """

    def __init__(
        self,
        aggregator: Aggregator,
        *,
        caller: Caller,
        clock: Clock,
        policy: CallPolicy,
        ended: Callable[[FinishedCall], None],
        failed: Callable[[KernelError], None] = raise_error,
        recorder: StageRecorder = UNCOUNTED,
        tracer: Tracer | None = None,
        memory: MemoryLimit = NO_LIMIT,
    ) -> None:
        self._tracer = tracer
        self._memory = memory
        self._has_warned_of_memory = False
        self._kernel = aggregator.kernel
        self._aggregator = aggregator
        self._caller = caller
        self._clock = clock
        self._policy = policy
        self._ended = ended
        self._failed = failed
        self._recorder = recorder
        self._pending: list[_PendingCall] = []
        self._not_before_ns = 0
        self.counts = CallCounts()
        self.chooser = ModeChooser(
            policy.mode, policy.predicted_p95_s, policy.budget_ns / NS_PER_MS, policy.horizon_s
        )

    def run_boundary(self, step: int, boundary_ns: int) -> None:
        """Applies the answers that arrived and makes the calls that are due, between two steps."""
        mode = self.chooser.mode
        if mode != "offline" or step % self._policy.epoch == 0:
            for call in [call for call in self._pending if call.pending.done()]:
                self._finish(call, self._clock.now_ns())
        if step % self._policy.every == 0:
            self._make_calls(step, boundary_ns)
        if self.chooser.mode == "inline":  # not `mode`: an answer just applied may have changed it
            self._drain(boundary_ns)

    def flush(self) -> None:
        """Waits for every call in flight and applies its answer; only this wait counts as blocking."""
        self._drain(self._clock.now_ns())

    def _drain(self, since: int) -> None:
        while self._pending:
            call = self._pending[0]
            self._finish(call, max(call.asked_ns, since))
            since = self._clock.now_ns()

    def end_spans(self) -> None:
        """Ends the spans of the calls in flight, whose answers will not be applied."""
        for call in self._pending:
            if call.span is not None:
                call.span.end(ABANDONED)

    def kernel_state(self) -> dict[str, Any]:
        """The kernel's name and, if it is Stateful, its state."""
        return {"name": self._kernel.name, "state": self._kernel.state_dict()}

    def in_flight(self) -> list[list[str | int]]:
        """The request and base version of each call in flight, as plain values."""
        subproblems = [call.proposal.subproblem for call in self._pending if not call.void]
        return [[subproblem.request_id, subproblem.base_version] for subproblem in subproblems]

    def try_kernel_state(self, saved: Mapping[str, Any]) -> None:
        """Raises SettingsError if the kernel cannot load this `kernel_state`; changes nothing."""
        if saved["name"] == self._kernel.name:
            self._kernel.try_state(saved["state"])

    def load_kernel_state(self, saved: Mapping[str, Any]) -> None:
        """Loads the kernel's state; a kernel of another name keeps its own."""
        if saved["name"] == self._kernel.name:
            self._kernel.load_state_dict(saved["state"])

    def drop(self, lost: Sequence[Sequence[Any]] = ()) -> None:
        """Drops every call in flight, since the model was replaced; each is decided when its answer arrives.

        lost: the calls of an ended process, as its `in_flight` returned them, whose answers will not arrive.
        """
        for call in self._pending:
            call.void = True
        for request_id, base_version in lost:
            dropped = self._aggregator.drop(str(request_id), int(base_version))
            self._caller.record_decision(str(request_id), dropped.decision, stale=dropped.stale)

    def _make_calls(self, step: int, boundary_ns: int) -> None:
        in_flight = sum(not call.pending.done() for call in self._pending)
        room = min(self._policy.at_once, max(0, self._policy.in_flight - in_flight))
        self._count(in_flight=self._policy.at_once - room)
        for number in range(room):
            began = self._clock.now_ns()
            if began < self._not_before_ns:
                self._count(retry_after=room - number)
                return
            if self._is_memory_full():
                if not self._free_memory():
                    self._count(no_memory=room - number)
                    return
                began = self._clock.now_ns()
            try:
                self._ask(step, boundary_ns, began)
            except KernelError as error:
                self._count(no_proposal=1)
                self._failed(error)
            else:
                self._count(asked=1)

    def _is_memory_full(self) -> bool:
        return len(self._pending) >= self._memory.calls

    def _free_memory(self) -> bool:
        """Whether one more call fits now: under "block" after waiting for the oldest in flight."""
        self._warn_of_memory()
        while self._memory.on_full == "block" and self._pending and self._is_memory_full():
            self._finish(self._pending[0], self._clock.now_ns())
        return not self._is_memory_full()

    def _warn_of_memory(self) -> None:
        """Once: the figures are in the counts."""
        if not self._has_warned_of_memory:
            self._has_warned_of_memory = True
            what = "wait for earlier ones" if self._memory.on_full == "block" else "are not made"
            log.warning(
                "training: memory is full, so that due calls %s: %s; free some, raise "
                "placement.memory_share, or lower quantum.shots",
                what,
                self._memory.find_point(),
            )

    def _count(self, **more: int) -> None:
        self.counts = replace(
            self.counts, **{name: getattr(self.counts, name) + count for name, count in more.items()}
        )

    def _ask(self, step: int, boundary_ns: int, began_ns: int) -> None:
        policy, inline = self._policy, self.chooser.mode == "inline"
        budget = policy.budget_ns if inline else (policy.wait_limit_ns or policy.budget_ns)
        proposal = self._kernel.propose(self._aggregator.version, budget)
        ready = self._clock.now_ns()
        proposed = StageTiming(Stage.PROPOSE, began_ns, ready - began_ns)
        span = None
        if self._tracer is not None:
            span = self._tracer.begin(SpanName.TRAINING_CALL, None, start_ns=began_ns)
            proposal = _trace_proposal(proposal, span, step, proposed)
        pending = self._caller.ask(proposal.subproblem)
        asked_ns = self._clock.now_ns()
        self._pending.append(
            _PendingCall(
                step, boundary_ns, began_ns, asked_ns, inline, proposed, proposal, pending, span=span
            )
        )

    def _finish(self, call: _PendingCall, waited_since_ns: int) -> None:
        """Waits for the call's answer and applies it."""
        outcome = call.pending.result()
        self._pending.remove(call)  # only now: a Ctrl-C during the wait must leave the call in flight
        received = self._clock.now_ns()
        subproblem = call.proposal.subproblem
        applied = self._decide(call, outcome)
        ended = self._clock.now_ns()
        self._caller.record_decision(subproblem.request_id, applied.decision, stale=applied.stale)
        applying = StageTiming(Stage.APPLY, received, ended - received)
        context = None
        if call.span is not None:
            context = call.span.context
            call.span.record_stage(applying)
            describe_outcome(call.span, outcome)
            call.span.describe(decision=applied.decision, stale=applied.stale)
            call.span.end()
        self._recorder.record_stage(call.proposed, context)
        self._recorder.record_stage(applying, context)
        self._update_backoff(call, outcome, received)
        self._ended(
            FinishedCall(
                step=call.step,
                request_id=subproblem.request_id,
                subproblem=subproblem,
                boundary_ns=call.boundary_ns,
                received_ns=received,
                blocked_ns=(call.asked_ns - call.began_ns) + (ended - waited_since_ns),
                inline=call.inline,
                deadline_ns=subproblem.budget_ns,
                proposed=call.proposed,
                applying=applying,
                outcome=outcome,
                applied=applied,
                dense=call.proposal.dense,
                surrogate_error=call.proposal.surrogate_error,
            )
        )

    def _decide(self, call: _PendingCall, outcome: Outcome) -> Applied:
        """What becomes of the answer; one on which the kernel fails is rejected."""
        subproblem = call.proposal.subproblem
        if call.void:
            return self._aggregator.drop(subproblem.request_id, subproblem.base_version)
        try:
            return self._aggregator.offer(call.proposal, outcome)
        except KernelError as error:
            self._count(failed_answers=1)
            self._failed(error)
            version = self._aggregator.version
            return Applied(Decision.REJECTED, Winner.INCUMBENT, version, version != subproblem.base_version)

    def _update_backoff(self, call: _PendingCall, outcome: Outcome, received_ns: int) -> None:
        """Learns from how a call ended: its latency, or when the next call may be made."""
        cause = rejection_of(outcome)
        if cause is not None:
            self._not_before_ns = received_ns + round(cause.retry_after_s * NS_PER_S)
            if cause.limit in DOES_NOT_FIT:
                self.chooser.observe(math.inf)
        elif isinstance(outcome, Done):
            samples_at = outcome.provenance.samples_at_ns or received_ns
            self.chooser.observe((samples_at - call.boundary_ns) / NS_PER_S)
        elif isinstance(outcome, Late) or (
            isinstance(outcome, Degraded) and isinstance(outcome.cause, DeadlinePassed)
        ):
            self.chooser.observe(math.inf)


def _trace_proposal(proposal: Proposal, span: Span, step: int, proposed: StageTiming) -> Proposal:
    """The proposal, whose call is part of the span."""
    subproblem = proposal.subproblem
    span.describe(request_id=subproblem.request_id, kernel=subproblem.kind, step=step)
    span.record_stage(proposed)
    return replace(proposal, subproblem=replace(subproblem, trace=span.context))


def rejection_of(outcome: Outcome) -> Rejection | None:
    """The rejection that ended a call, if one did."""
    match outcome:
        case Shed(rejection=rejection) | Degraded(cause=Rejection() as rejection):
            return rejection
        case _:
            return None
