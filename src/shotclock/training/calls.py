"""The calls of one training loop: when to ask, when to land an answer, when to leave a busy QPU alone.

`inline` waits for a call at its step boundary; `overlap` asks, lets training go on, and offers the answer at
the boundary after it arrived; `offline` keeps what arrives until an epoch ends. A typed rejection is
heeded: nothing is asked before its retry_after_s has passed. Asking may pause; training never does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from shotclock.domain.budget import NS_PER_MS, NS_PER_S
from shotclock.domain.delta import Proposal
from shotclock.domain.errors import SettingsError
from shotclock.domain.iteration import CallCounts, FinishedCall
from shotclock.domain.outcome import (
    DOES_NOT_FIT,
    DeadlinePassed,
    Degraded,
    Done,
    Late,
    Outcome,
    Rejection,
    Shed,
)
from shotclock.domain.ports import Caller, Clock, Kernel, Pending
from shotclock.domain.stages import Stage, StageTiming
from shotclock.training.aggregator import Aggregator
from shotclock.training.checked import ValidatingKernel
from shotclock.training.mode import Mode, ModeChooser


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """When and how to ask.

    every: steps between calls. mode: how a call meets training; "auto" starts from predicted_p95_s and
    follows what is measured, inline where the p95 fits budget_ns. budget_ns: each call's deadline;
    wait_limit_ns: the deadline of calls nobody waits for, 0 for the same. at_once: calls asked at a due
    step (independent rows of a layer, which the orchestrator packs onto one chip). in_flight: calls under way
    at most; what is due beyond it is skipped and counted. epoch: steps between the
    points at which `offline` applies. horizon_s: how long an overlapped answer may take under "auto".
    Raises SettingsError on what no loop can keep.
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
            known = ", ".join((*get_args(Mode), "auto"))
            raise SettingsError(f"policy.mode: '{self.mode}' is none; known: {known}")
        for name in ("every", "budget_ns", "at_once", "in_flight", "epoch"):
            if getattr(self, name) < 1:
                raise SettingsError(f"policy.{name}: {getattr(self, name)}, wants at least 1")
        if self.wait_limit_ns < 0:
            raise SettingsError(f"policy.wait_limit_ns: {self.wait_limit_ns} is negative; 0 is budget_ns")


@dataclass(slots=True, eq=False)
class _Flight:
    step: int
    boundary_ns: int
    began_ns: int
    asked_ns: int
    inline: bool
    proposed: StageTiming
    proposal: Proposal
    pending: Pending
    void: bool = False


class Calls:
    """The calls under way; `ended` gets each one when it has ended, on the training thread."""

    def __init__(
        self,
        kernel: Kernel,
        aggregator: Aggregator,
        *,
        caller: Caller,
        clock: Clock,
        policy: CallPolicy,
        ended: Callable[[FinishedCall], None],
    ) -> None:
        self._kernel = ValidatingKernel(kernel)
        self._aggregator = aggregator
        self._caller = caller
        self._clock = clock
        self._policy = policy
        self._ended = ended
        self._flights: list[_Flight] = []
        self._not_before_ns = 0
        self.counts = CallCounts()
        self.chooser = ModeChooser(
            policy.mode, policy.predicted_p95_s, policy.budget_ns / NS_PER_MS, policy.horizon_s
        )

    def boundary(self, step: int, boundary_ns: int) -> None:
        """What is due between two optimizer steps: landing what arrived, then asking."""
        mode = self.chooser.mode
        if mode != "offline" or step % self._policy.epoch == 0:
            for flight in [one for one in self._flights if one.pending.done()]:
                self._land(flight, self._clock.now_ns())
        if step % self._policy.every == 0:
            self._fill(step, boundary_ns)
        if self.chooser.mode == "inline":  # what has just landed may have changed it
            self._drain(boundary_ns)

    def flush(self) -> None:
        """Waits for every call in flight and offers its answer; until now none of them blocked training."""
        self._drain(self._clock.now_ns())

    def _drain(self, since: int) -> None:
        while self._flights:
            flight = self._flights[0]
            self._land(flight, max(flight.asked_ns, since))
            since = self._clock.now_ns()

    def kernel_state(self) -> dict[str, Any]:
        """The kernel's name and, where it is Stateful, its state."""
        return {"name": self._kernel.name, "state": self._kernel.state_dict()}

    def in_flight(self) -> list[list[str | int]]:
        """The request and base version of each call under way, plain values."""
        asked = [flight.proposal.subproblem for flight in self._flights if not flight.void]
        return [[one.request_id, one.base_version] for one in asked]

    def try_kernel_state(self, kept: Mapping[str, Any]) -> None:
        """SettingsError where the kernel cannot go on from what `kernel_state` told; nothing changes."""
        if kept["name"] == self._kernel.name:
            self._kernel.try_state(kept["state"])

    def load_kernel_state(self, kept: Mapping[str, Any]) -> None:
        """The kernel goes on from there; a kernel of another name from where it is."""
        if kept["name"] == self._kernel.name:
            self._kernel.load_state_dict(kept["state"])

    def drop(self, lost: Sequence[Sequence[Any]] = ()) -> None:
        """Another model has come: no answer under way is for it. Each is decided against when it arrives.

        lost: calls of a process that is gone, as `in_flight` told them; nothing of them will arrive.
        """
        for flight in self._flights:
            flight.void = True
        for request_id, base_version in lost:
            self._aggregator.drop(str(request_id), int(base_version))

    def _fill(self, step: int, boundary_ns: int) -> None:
        under_way = sum(not one.pending.done() for one in self._flights)
        room = min(self._policy.at_once, max(0, self._policy.in_flight - under_way))
        self._count(in_flight=self._policy.at_once - room)
        for number in range(room):
            began = self._clock.now_ns()
            if began < self._not_before_ns:
                self._count(retry_after=room - number)
                return
            self._ask(step, boundary_ns, began)
            self._count(asked=1)

    def _count(self, *, asked: int = 0, in_flight: int = 0, retry_after: int = 0) -> None:
        held = self.counts
        self.counts = CallCounts(
            held.asked + asked, held.in_flight + in_flight, held.retry_after + retry_after
        )

    def _ask(self, step: int, boundary_ns: int, began_ns: int) -> None:
        policy, inline = self._policy, self.chooser.mode == "inline"
        budget = policy.budget_ns if inline else (policy.wait_limit_ns or policy.budget_ns)
        proposal = self._kernel.propose(self._aggregator.version, budget)
        asked = self._clock.now_ns()
        proposed = StageTiming(Stage.PROPOSE, began_ns, asked - began_ns)
        pending = self._caller.ask(proposal.subproblem)
        self._flights.append(
            _Flight(step, boundary_ns, began_ns, self._clock.now_ns(), inline, proposed, proposal, pending)
        )

    def _land(self, flight: _Flight, waited_since_ns: int) -> None:
        outcome = flight.pending.result()
        self._flights.remove(flight)  # not before: a Ctrl-C while it is waited for leaves it under way
        received = self._clock.now_ns()
        asked = flight.proposal.subproblem
        if flight.void:
            applied = self._aggregator.drop(asked.request_id, asked.base_version)
        else:
            applied = self._aggregator.offer(flight.proposal, outcome)
        ended = self._clock.now_ns()
        self._caller.record_decision(asked.request_id, applied.decision)
        self._update_backoff(flight, outcome, received)
        self._ended(
            FinishedCall(
                step=flight.step,
                request_id=asked.request_id,
                boundary_ns=flight.boundary_ns,
                received_ns=received,
                blocked_ns=(flight.asked_ns - flight.began_ns) + (ended - waited_since_ns),
                inline=flight.inline,
                deadline_ns=asked.budget_ns,
                proposed=flight.proposed,
                applying=StageTiming(Stage.APPLY, received, ended - received),
                outcome=outcome,
                applied=applied,
            )
        )

    def _update_backoff(self, flight: _Flight, outcome: Outcome, received_ns: int) -> None:
        """Learns from how a call ended: its latency, or that it should not have been asked yet."""
        cause = rejection_of(outcome)
        if cause is not None:
            self._not_before_ns = received_ns + round(cause.retry_after_s * NS_PER_S)
            if cause.limit in DOES_NOT_FIT:
                self.chooser.observe(math.inf)
        elif isinstance(outcome, Done):
            samples_at = outcome.provenance.samples_at_ns or received_ns
            self.chooser.observe((samples_at - flight.boundary_ns) / NS_PER_S)
        elif isinstance(outcome, Late) or (
            isinstance(outcome, Degraded) and isinstance(outcome.cause, DeadlinePassed)
        ):
            self.chooser.observe(math.inf)


def rejection_of(outcome: Outcome) -> Rejection | None:
    """The rejection that ended a call, if one did."""
    match outcome:
        case Shed(rejection=rejection) | Degraded(cause=Rejection() as rejection):
            return rejection
        case _:
            return None
