"""Counts what happens for Prometheus: one registry per process, one recorder per orchestrator."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar, get_args

from prometheus_client import Counter, Gauge, Histogram

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.flags import FLAG_REASONS, FLAGS
from shotclock.domain.outcome import (
    REJECTION_LIMITS,
    CircuitOutcome,
    ClientOutcomes,
    Decision,
    Degraded,
    Done,
    Executed,
    Failed,
    Late,
    Outcome,
    ProviderFault,
    Rejection,
    Shed,
)
from shotclock.domain.recorders import DamagedMessage, TemplateEvent, WorkerRestart
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.status import BreakerState
from shotclock.domain.trace_context import TraceContext
from shotclock.telemetry.families import WINDOW, Metrics
from shotclock.telemetry.recent import RecentWindow

__all__ = ["Metrics", "PrometheusRecorder"]

Family = TypeVar("Family", Counter, Gauge, Histogram)

NAMED_CLIENTS = 32
"""As many callers have series of their name, in the order in which they call; the rest share one."""

OTHER_CLIENT = "other"

OUTCOMES: dict[type, str] = {
    kind: kind.__name__.lower() for kind in (Done, Degraded, Shed, Late, Failed, Executed)
}
CANCELLED = "cancelled"
"""The label `outcome` of a call that its caller gave up, or whose gRPC deadline passed first."""

LATE_AT_CLIENT, FALLBACK_AT_CLIENT, UNREACHABLE = "late_at_client", "fallback_at_client", "unreachable"
CLIENT_OUTCOMES: dict[type, str] = {
    **OUTCOMES,
    Late: LATE_AT_CLIENT,
    Degraded: FALLBACK_AT_CLIENT,
    Failed: UNREACHABLE,
}
"""The label `outcome`, of calls that the orchestrator ended and of those that its client ended by itself."""

_BEAT = {None: "unknown", True: "yes", False: "no"}

SAMPLES, CLASSICAL = "samples", "classical"
"""What an answer in time had: new samples of a QPU, or none."""

STAGE_NAMES = {
    Stage.PROPOSE: "propose",
    Stage.ADMISSION_WAIT: "admission_wait",
    Stage.SUBMISSION_BUCKET_WAIT: "submission_bucket_wait",
    Stage.BIND: "bind",
    Stage.CIRCUIT_SUBMIT_LATENCY: "submit",
    Stage.QPU_QUEUE_WAIT: "queue",
    Stage.QPU_EXEC_TIME: "execute",
    Stage.COLLECT: "collect",
    Stage.POSTPROC_TIME: "post_process",
    Stage.APPLY: "apply",
}
"""The label `stage` of each stage of a call."""


def _exemplar(trace: TraceContext | None) -> dict[str, str] | None:
    """What a bucket shows of the last call in it, in OpenMetrics alone: a trace that is exported."""
    if trace is None or not trace.is_sampled:
        return None
    return {"trace_id": f"{trace.trace_id:032x}"}


class _Series:
    """The time series with one first label, cached because `labels()` checks and locks at every call."""

    def __init__(self, first: str) -> None:
        self._first = first
        self._cached: dict[tuple[object, ...], Counter | Gauge | Histogram] = {}

    def __call__(self, family: Family, *labels: str) -> Family:
        """The family's series with these labels, created at its first use."""
        key = (family, *labels)
        series = self._cached.get(key)
        if not isinstance(series, type(family)):
            series = self._cached[key] = family.labels(self._first, *labels)
        return series


class _Share:
    """The share of the last calls for which a condition held."""

    def __init__(self) -> None:
        self._window: deque[bool] = deque()
        self._true = 0

    def add(self, true: bool) -> float:
        """Adds a call and returns the new share."""
        self._window.append(true)
        self._true += true
        if len(self._window) > WINDOW:
            self._true -= self._window.popleft()
        return self._true / len(self._window)


class _Client:
    """One caller's series; its counters exist from the start, so that a rate includes the first count."""

    def __init__(
        self, metrics: Metrics, name: str, on_rejection: Callable[[str], None], recent: RecentWindow
    ) -> None:
        self._metrics = metrics
        self._recent = recent.of_caller(name)
        self._record_fault = recent.record_fault
        self._on_rejection = on_rejection
        self._of = of = _Series(name)
        self._stages: dict[Stage, Histogram] = {}
        self._samples_back = _Share()
        for outcome in {*OUTCOMES.values(), CANCELLED, *CLIENT_OUTCOMES.values()}:
            of(metrics.calls, outcome)
        for answer in (SAMPLES, CLASSICAL):
            of(metrics.calls_in_time, answer)
        for limit in REJECTION_LIMITS:
            of(metrics.rejections, limit)
        for decision in Decision:
            of(metrics.decisions, decision)
            of(metrics.stale_decisions, decision)
        for message in get_args(DamagedMessage):
            of(metrics.integrity_failures, message)
        of(metrics.stale_parameters)
        of(metrics.overruns)

    def record_outcome(
        self,
        outcome: Outcome | CircuitOutcome,
        name: str,
        duration_ns: int,
        budget_ns: int,
        exemplar: dict[str, str] | None,
    ) -> None:
        metrics, of, provenance = self._metrics, self._of, outcome.provenance
        # as in `quantum_share`: reused samples of an equal earlier call do not count as a QPU call
        sampled = isinstance(outcome, Done | Executed) and len(outcome.samples.counts) > 0
        samples_back = sampled and not provenance.cached
        if samples_back:
            of(metrics.job_size).observe(provenance.sharers)
        in_time = duration_ns <= budget_ns and isinstance(outcome, Done | Degraded | Executed)
        if in_time:
            of(metrics.calls_in_time, SAMPLES if samples_back else CLASSICAL).inc()
        of(metrics.success_ratio).set(self._samples_back.add(in_time and samples_back))
        of(metrics.calls, name).inc()
        of(metrics.call_duration, name).observe(duration_ns / NS_PER_S, exemplar)
        for timing in provenance.stages:
            self.record_stage(timing, exemplar)
        refused_by = ""
        match outcome:
            case Degraded(cause=Rejection(limit=limit)) | Shed(rejection=Rejection(limit=limit)):
                refused_by = limit
                of(metrics.rejections, limit).inc()
                self._on_rejection(limit)
            case (
                Degraded(cause=ProviderFault(message=message)) | Failed(cause=ProviderFault(message=message))
            ):
                self._record_fault(message)
        self._recent.record(duration_ns, in_time=in_time, samples=samples_back, limit=refused_by)
        if provenance.emulator_overrun:
            of(metrics.overruns).inc()

    def record_cancellation(self, duration_ns: int) -> None:
        self._of(self._metrics.calls, CANCELLED).inc()
        self._of(self._metrics.call_duration, CANCELLED).observe(duration_ns / NS_PER_S)
        self._recent.record(duration_ns, in_time=False, samples=False)

    def record_report(self, reported: ClientOutcomes) -> None:
        metrics, of = self._metrics, self._of
        of(metrics.calls, LATE_AT_CLIENT).inc(reported.late)
        of(metrics.calls, UNREACHABLE).inc(reported.unreachable)
        of(metrics.calls, FALLBACK_AT_CLIENT).inc(reported.fallback)
        of(metrics.calls_in_time, CLASSICAL).inc(reported.fallback_in_time)
        self._recent.record_late_at_client(reported.late)

    def record_stage(self, timing: StageTiming, exemplar: dict[str, str] | None) -> None:
        series = self._stages.get(timing.stage)
        if series is None:
            series = self._of(self._metrics.stage_duration, STAGE_NAMES[timing.stage])
            self._stages[timing.stage] = series
        series.observe(timing.duration_ns / NS_PER_S, exemplar)

    def record_integrity_failure(self, message: DamagedMessage) -> None:
        self._of(self._metrics.integrity_failures, message).inc()

    def record_decision(self, decision: Decision, stale: bool) -> None:
        self._of(self._metrics.decisions, decision).inc()
        if stale:
            self._of(self._metrics.stale_decisions, decision).inc()
            self._of(self._metrics.stale_parameters).inc()


def ignore_rejection(limit: str) -> None:
    """Where nobody summarises refusals."""
    del limit


def ignore_breaker(state: BreakerState) -> None:
    """Where nobody reports changes of the breaker."""
    del state


class PrometheusRecorder:
    """A Recorder for one orchestrator or client.

    client: the name of callers that have none.
    arm: the arm of a benchmark, "" elsewhere.
    clients: names of callers whose series exist before their first call.
    on_rejection: called with the limit that refused a call.
    on_breaker: called with each new state of the breaker.
    recent: takes every call, for the status page.
    """

    def __init__(
        self,
        metrics: Metrics,
        client: str,
        arm: str = "",
        clients: Iterable[str] = (),
        on_rejection: Callable[[str], None] = ignore_rejection,
        on_breaker: Callable[[BreakerState], None] = ignore_breaker,
        recent: RecentWindow | None = None,
    ) -> None:
        self._metrics = metrics
        self._on_breaker = on_breaker
        self._recent = recent or RecentWindow()
        self._on_rejection = on_rejection
        self._client = client
        self._clients: dict[str, _Client] = {}
        for name in (client, *clients):
            self._of_client(name)
        of = self._of = _Series(arm)
        of(metrics.submit_latency)
        of(metrics.queue_length)
        of(metrics.retries)
        of(metrics.compile_time)
        for looked_up in ("hit", "miss"):
            of(metrics.lookups, looked_up)
        for event in get_args(TemplateEvent):
            of(metrics.templates, event)
        for reason in get_args(WorkerRestart):
            of(metrics.worker_restarts, reason)
        for flag in FLAGS:
            for evaluated in FLAG_REASONS:
                of(metrics.flag_evaluations, flag, evaluated)
        self._state = BreakerState.CLOSED
        self.breaker(self._state)

    def _of_client(self, name: str) -> _Client:
        """The caller's series, or those that callers beyond NAMED_CLIENTS share."""
        name = name or self._client
        if name not in self._clients and len(self._clients) >= NAMED_CLIENTS:
            name = OTHER_CLIENT
        if name not in self._clients:
            self._clients[name] = _Client(self._metrics, name, self._on_rejection, self._recent)
        return self._clients[name]

    def record_submit(self, latency_ns: int) -> None:
        """See `Recorder.record_submit`."""
        self._of(self._metrics.submit_latency).observe(latency_ns / NS_PER_S)

    def record_queue_length(self, length: int) -> None:
        """See `Recorder.record_queue_length`."""
        self._of(self._metrics.queue_length).set(length)

    def record_retry(self) -> None:
        """See `Recorder.record_retry`."""
        self._of(self._metrics.retries).inc()

    def record_worker_restart(self, reason: WorkerRestart) -> None:
        """See `Recorder.record_worker_restart`."""
        self._of(self._metrics.worker_restarts, reason).inc()

    def record_lookup(self, hit: bool) -> None:
        """See `Recorder.record_lookup`."""
        self._of(self._metrics.lookups, "hit" if hit else "miss").inc()

    def breaker(self, state: BreakerState) -> None:
        """See `Recorder.breaker`."""
        for each in BreakerState:
            self._of(self._metrics.breaker_state, each).set(each is state)
        if state is not self._state:
            self._state = state
            self._on_breaker(state)

    def record_outcome(
        self,
        outcome: Outcome | CircuitOutcome,
        duration_ns: int,
        budget_ns: int,
        caller: str = "",
        trace: TraceContext | None = None,
    ) -> None:
        """See `Recorder.record_outcome`."""
        name, exemplar = OUTCOMES[type(outcome)], _exemplar(trace)
        self._of_client(caller).record_outcome(outcome, name, duration_ns, budget_ns, exemplar)
        if (evaluation := outcome.provenance.pre_evaluation) is not None:
            beat = _BEAT[evaluation.beats_incumbent]
            self._of(self._metrics.pre_evaluations, evaluation.decision, beat).inc()

    def record_cancellation(self, duration_ns: int, caller: str = "") -> None:
        """See `Recorder.record_cancellation`."""
        self._of_client(caller).record_cancellation(duration_ns)

    def record_client_outcome(
        self,
        outcome: Outcome | CircuitOutcome,
        duration_ns: int,
        budget_ns: int,
        trace: TraceContext | None = None,
    ) -> None:
        """See `ClientRecorder.record_client_outcome`."""
        name, exemplar = CLIENT_OUTCOMES[type(outcome)], _exemplar(trace)
        self._of_client("").record_outcome(outcome, name, duration_ns, budget_ns, exemplar)

    def record_report(self, reported: ClientOutcomes, caller: str) -> None:
        """Counts the calls that a client of this service ended by itself, as it reported them."""
        self._of_client(caller).record_report(reported)

    def record_stage(self, timing: StageTiming, trace: TraceContext | None = None) -> None:
        """See `StageRecorder.record_stage`."""
        self._of_client("").record_stage(timing, _exemplar(trace))

    def record_decision(self, decision: Decision, stale: bool, caller: str = "") -> None:
        """See `Recorder.record_decision`."""
        self._of_client(caller).record_decision(decision, stale)

    def record_integrity_failure(self, message: DamagedMessage, caller: str = "") -> None:
        """See `ClientRecorder.record_integrity_failure`; a service records those of its callers."""
        self._of_client(caller).record_integrity_failure(message)

    def record_flag(self, flag: str, reason: str) -> None:
        """See `FlagRecorder.record_flag`."""
        self._of(self._metrics.flag_evaluations, flag, reason).inc()

    def template(self, event: TemplateEvent) -> None:
        """See `TemplateRecorder.template`."""
        self._of(self._metrics.templates, event).inc()

    def record_compile(self, seconds: float) -> None:
        """See `TemplateRecorder.record_compile`."""
        self._of(self._metrics.compile_time).observe(seconds)
