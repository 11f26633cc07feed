"""The ports of what observes calls, jobs, templates and flags: recorders count and never decide."""

from __future__ import annotations

from typing import Literal, Protocol

from shotclock.domain.outcome import CircuitOutcome, Decision, Outcome
from shotclock.domain.stages import StageTiming
from shotclock.domain.status import BreakerState
from shotclock.domain.trace_context import TraceContext


class FlagRecorder(Protocol):
    """Counts evaluations of flags; observes and never decides."""

    def record_flag(self, flag: str, reason: str) -> None:
        """A flag was evaluated; reason: OpenFeature's, STALE while the flags' source cannot be used."""


TemplateEvent = Literal["hit", "miss", "loaded", "evicted", "refused"]
"""In memory; not in memory; a miss found on disk; dropped from memory; on disk but unusable."""


class TemplateRecorder(Protocol):
    """Counts template events; observes and never decides."""

    def template(self, event: TemplateEvent) -> None:
        """A template was requested, dropped or refused."""

    def record_compile(self, seconds: float) -> None:
        """A template was compiled in this time."""


WorkerRestart = Literal["abandoned", "time", "memory", "died", "grown"]
"""Why a worker process was replaced: killed when no caller waited for its work any more, over its time or its
memory limit, died, or left with less memory than the next work may use.
"""


DamagedMessage = Literal["request", "answer"]
"""What did not match its checksum: a request as the service got it, an answer as its caller got it."""


class StageRecorder(Protocol):
    """Counts the stages that a training loop times; every Recorder does."""

    def record_stage(self, timing: StageTiming, trace: TraceContext | None = None) -> None:
        """A stage outside the orchestrator ended: proposing a subproblem, applying an answer."""


class OutcomeRecorder(Protocol):
    """Counts calls and what became of their answers; observes and never decides."""

    def record_outcome(
        self,
        outcome: Outcome | CircuitOutcome,
        duration_ns: int,
        budget_ns: int,
        caller: str = "",
        trace: TraceContext | None = None,
    ) -> None:
        """A call ended, this long after it arrived; it was in time up to its budget.

        caller: the name in its certificate, "" without one.
        trace: the call's span, which a scrape may name as an example.
        """

    def record_decision(self, decision: Decision, stale: bool, caller: str = "") -> None:
        """The aggregator decided on an answer; stale: it was computed on an older model."""


class Recorder(TemplateRecorder, StageRecorder, FlagRecorder, OutcomeRecorder, Protocol):
    """Counts what happens; observes and never decides."""

    def record_worker_restart(self, reason: WorkerRestart) -> None:
        """A worker process was replaced; called from any thread."""

    def record_submit(self, latency_ns: int) -> None:
        """A submit was accepted after this long."""

    def record_queue_length(self, length: int) -> None:
        """The queue's present length."""

    def record_retry(self) -> None:
        """A submit or collect is tried again."""

    def record_lookup(self, hit: bool) -> None:
        """Samples of an equal, earlier call were looked for."""

    def breaker(self, state: BreakerState) -> None:
        """Whether the provider is trusted again."""

    def record_cancellation(self, duration_ns: int, caller: str = "") -> None:
        """A caller gave a call up, this long after it arrived: it has no outcome."""


class ClientRecorder(OutcomeRecorder, Protocol):
    """Counts the calls of a client to a remote orchestrator; observes and never decides."""

    def record_client_outcome(
        self,
        outcome: Outcome | CircuitOutcome,
        duration_ns: int,
        budget_ns: int,
        trace: TraceContext | None = None,
    ) -> None:
        """The client ended a call by itself, without an answer of the orchestrator."""

    def record_integrity_failure(self, message: DamagedMessage, caller: str = "") -> None:
        """A message did not match its checksum; nothing of it was used."""
