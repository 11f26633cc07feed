"""The specification's metrics for Prometheus: one registry per process, one recorder per client."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import MachineError
from shotclock.domain.outcome import (
    COMPILE_CAPACITY,
    CircuitOutcome,
    Decision,
    Degraded,
    Done,
    Executed,
    Outcome,
    Rejection,
    Shed,
)
from shotclock.domain.ports import TemplateEvent, WorkerRestart
from shotclock.domain.status import BreakerState

Family = TypeVar("Family", Counter, Gauge, Histogram)

WINDOW = 100
"""Number of calls over which the two ratio gauges are computed."""

SUBMIT_BUCKETS_S = (0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
"""Bucket edges include the usual deadlines: 50, 100 and 200 ms, 1, 2 and 30 s."""

COMPILE_BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
"""Compiling a template takes 8 to 50 ms, a wide user circuit takes seconds."""


class Metrics:
    """The metric families; `client` is the caller: an arm in a benchmark, a client's name in a service."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.submit_latency = Histogram(
            "circuit_submit_latency_seconds",
            "From submit to the provider's acceptance.",
            ["client"],
            buckets=SUBMIT_BUCKETS_S,
            registry=registry,
        )
        self.queue_length = Gauge(
            "qpu_queue_length", "Calls waiting in the orchestrator.", ["client"], registry=registry
        )
        self.retries = Counter("qpu_job_retries", "Attempts after the first.", ["client"], registry=registry)
        self.success_ratio = Gauge(
            "hybrid_call_success_ratio",
            f"Share of the last {WINDOW} calls whose samples came by the deadline and passed their checks.",
            ["client"],
            registry=registry,
        )
        self.stale_parameters = Counter(
            "stale_parameter_count",
            "Answers computed on an older model, by the aggregator's decision.",
            ["client", "decision"],
            registry=registry,
        )
        self.hit_ratio = Gauge(
            "shotclock_deadline_hit_ratio",
            f"Share of the last {WINDOW} calls answered by the deadline.",
            ["client"],
            registry=registry,
        )
        self.calls = Counter("shotclock_calls", "Calls by outcome.", ["client", "outcome"], registry=registry)
        self.decisions = Counter(
            "shotclock_decisions",
            "Answers by the aggregator's decision.",
            ["client", "decision"],
            registry=registry,
        )
        self.rejections = Counter(
            "shotclock_rejections",
            "Calls refused before submission, by the limit that refused them.",
            ["client", "limit"],
            registry=registry,
        )
        self.lookups = Counter(
            "shotclock_result_cache",
            "Lookups of samples of an equal earlier call: hit or miss.",
            ["client", "event"],
            registry=registry,
        )
        self.breaker_state = Gauge(
            "shotclock_breaker_state",
            "1 for the state the provider's breaker is in, 0 for the others.",
            ["client", "state"],
            registry=registry,
        )
        self.job_size = Histogram(
            "shotclock_calls_per_job",
            "Calls that shared the job whose samples came back, by call.",
            ["client"],
            buckets=(1, 2, 4, 8, 16, 32),
            registry=registry,
        )
        self.overruns = Counter(
            "shotclock_emulator_overruns",
            "Calls whose emulation took longer to compute than the time it emulates.",
            ["client"],
            registry=registry,
        )
        self.troubles = Counter(
            "shotclock_troubles",
            "Problems that need attention, such as a parked job or a stopped ledger; each is logged.",
            ["client"],
            registry=registry,
        )
        self.closed_connections = Counter(
            "shotclock_http_connections_closed",
            "HTTP connections that a limit closed: connections, header, idle, answer, descriptors.",
            ["client", "limit"],
            registry=registry,
        )
        self.templates = Counter(
            "shotclock_template_cache",
            "Templates: hit or miss in memory, loaded from disk, evicted from memory, refused on disk.",
            ["client", "event"],
            registry=registry,
        )
        self.worker_restarts = Counter(
            "shotclock_worker_restarts",
            "Worker processes replaced: abandoned by their callers, over their time or memory, died, grown.",
            ["client", "reason"],
            registry=registry,
        )
        self.compile_time = Histogram(
            "shotclock_template_compile_seconds",
            "Compiling one template, in the worker.",
            ["client"],
            buckets=COMPILE_BUCKETS_S,
            registry=registry,
        )

    @contextmanager
    def expose(self, port: int, address: str = "127.0.0.1") -> Iterator[None]:
        """Serves /metrics on a loopback port within the context; raises MachineError if the port is taken."""
        try:
            server, thread = start_http_server(port, addr=address, registry=self.registry)
        except OSError as error:
            raise MachineError(
                f"--metrics {port}: cannot listen on {address}:{port}: {error.strerror}; choose another port"
            ) from error
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Series:
    """One client's time series, cached because `labels()` checks and locks at every call."""

    def __init__(self, client: str) -> None:
        self._client = client
        self._cached: dict[tuple[object, ...], Counter | Gauge | Histogram] = {}

    def __call__(self, family: Family, *labels: str) -> Family:
        """The family's series with these labels, created at its first use."""
        key = (family, *labels)
        series = self._cached.get(key)
        if not isinstance(series, type(family)):
            series = self._cached[key] = family.labels(self._client, *labels)
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


class PrometheusRecorder:
    """A Recorder for one client."""

    def __init__(self, metrics: Metrics, client: str) -> None:
        self._metrics = metrics
        self._of = _Series(client)
        self._samples_back = _Share()
        self._answered = _Share()
        self._of(metrics.retries)
        self.breaker(BreakerState.CLOSED)
        for decision in Decision:
            self._of(metrics.stale_parameters, decision)
        for reason in get_args(WorkerRestart):
            self._of(metrics.worker_restarts, reason)
        self._of(metrics.rejections, COMPILE_CAPACITY)

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

    def record_outcome(self, outcome: Outcome | CircuitOutcome) -> None:
        """See `Recorder.record_outcome`."""
        metrics, of, provenance = self._metrics, self._of, outcome.provenance
        # as in `quantum_share`: reused samples of an equal earlier call do not count as a QPU call
        sampled = isinstance(outcome, Done | Executed) and outcome.samples.shots > 0
        samples_back = sampled and not provenance.cached
        if samples_back:
            of(metrics.job_size).observe(provenance.sharers)
        answered = isinstance(outcome, Done | Degraded | Executed)
        of(metrics.success_ratio).set(self._samples_back.add(samples_back))
        of(metrics.hit_ratio).set(self._answered.add(answered))
        of(metrics.calls, type(outcome).__name__.lower()).inc()
        match outcome:
            case Degraded(cause=Rejection(limit=limit)) | Shed(rejection=Rejection(limit=limit)):
                of(metrics.rejections, limit).inc()
        if provenance.emulator_overrun:
            of(metrics.overruns).inc()

    def record_decision(self, decision: Decision, stale: bool) -> None:
        """See `Recorder.record_decision`."""
        self._of(self._metrics.decisions, decision).inc()
        if stale:
            self._of(self._metrics.stale_parameters, decision).inc()

    def template(self, event: TemplateEvent) -> None:
        """See `TemplateRecorder.template`."""
        self._of(self._metrics.templates, event).inc()

    def record_compile(self, seconds: float) -> None:
        """See `TemplateRecorder.record_compile`."""
        self._of(self._metrics.compile_time).observe(seconds)
