"""The founding document's metrics for Prometheus, one registry a process, one recorder a client."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import MachineError
from shotclock.domain.outcome import (
    CircuitOutcome,
    Decision,
    Degraded,
    Done,
    Executed,
    Outcome,
    Rejection,
    Shed,
)
from shotclock.domain.ports import TemplateEvent
from shotclock.domain.status import BreakerState

WINDOW = 100
"""Calls over which the two gauges are taken."""

SUBMIT_BUCKETS_S = (0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
"""An edge stands exactly at each usual deadline: 50, 100 and 200 ms, 1, 2 and 30 s."""

COMPILE_BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
"""Compiling a template takes 8 to 50 ms, a wide circuit of the user's own seconds."""


class Metrics:
    """The metric families; `client` is who asks: an arm in a benchmark, a caller's name in a service."""

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
            f"Calls whose samples came by the deadline and passed their checks, of the last {WINDOW}.",
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
            f"Calls answered by the deadline, of the last {WINDOW}.",
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
            "Calls refused before they were submitted, by the limit that refused.",
            ["client", "limit"],
            registry=registry,
        )
        self.lookups = Counter(
            "shotclock_result_cache",
            "Lookups of an equal, earlier call's samples: hit or miss.",
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
            "Calls whose emulation computed for longer than the time it emulates.",
            ["client"],
            registry=registry,
        )
        self.templates = Counter(
            "shotclock_template_cache",
            "Templates: hit or miss in memory, loaded from disk, evicted from memory, refused on disk.",
            ["client", "event"],
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
    def exposed(self, port: int, address: str = "127.0.0.1") -> Iterator[None]:
        """Serves /metrics on a port of the loopback meanwhile; MachineError when it is taken."""
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


class PrometheusRecorder:
    """A Recorder for one client."""

    def __init__(self, metrics: Metrics, client: str) -> None:
        self._metrics = metrics
        self._client = client
        self._samples_back: deque[bool] = deque(maxlen=WINDOW)
        self._answered: deque[bool] = deque(maxlen=WINDOW)
        metrics.retries.labels(client)
        self.breaker(BreakerState.CLOSED)
        for decision in Decision:
            metrics.stale_parameters.labels(client, decision)

    def submitted(self, latency_ns: int) -> None:
        """See `Recorder.submitted`."""
        self._metrics.submit_latency.labels(self._client).observe(latency_ns / NS_PER_S)

    def queued(self, length: int) -> None:
        """See `Recorder.queued`."""
        self._metrics.queue_length.labels(self._client).set(length)

    def retried(self) -> None:
        """See `Recorder.retried`."""
        self._metrics.retries.labels(self._client).inc()

    def looked_up(self, found: bool) -> None:
        """See `Recorder.looked_up`."""
        self._metrics.lookups.labels(self._client, "hit" if found else "miss").inc()

    def breaker(self, state: BreakerState) -> None:
        """See `Recorder.breaker`."""
        for known in BreakerState:
            self._metrics.breaker_state.labels(self._client, known).set(known is state)

    def finished(self, outcome: Outcome | CircuitOutcome) -> None:
        """See `Recorder.finished`."""
        self._samples_back.append(isinstance(outcome, Done | Executed) and outcome.samples.shots > 0)
        self._answered.append(isinstance(outcome, Done | Degraded | Executed))
        if self._samples_back[-1] and not outcome.provenance.cached:
            self._metrics.job_size.labels(self._client).observe(outcome.provenance.sharers)
        client = self._client
        self._metrics.success_ratio.labels(client).set(sum(self._samples_back) / len(self._samples_back))
        self._metrics.hit_ratio.labels(client).set(sum(self._answered) / len(self._answered))
        self._metrics.calls.labels(client, type(outcome).__name__.lower()).inc()
        match outcome:
            case Degraded(cause=Rejection(limit=limit)) | Shed(rejection=Rejection(limit=limit)):
                self._metrics.rejections.labels(client, limit).inc()
        if outcome.provenance.emulator_overrun:
            self._metrics.overruns.labels(client).inc()

    def decided(self, decision: Decision, stale: bool) -> None:
        """See `Recorder.decided`."""
        self._metrics.decisions.labels(self._client, decision).inc()
        if stale:
            self._metrics.stale_parameters.labels(self._client, decision).inc()

    def template(self, event: TemplateEvent) -> None:
        """See `TemplateRecorder.template`."""
        self._metrics.templates.labels(self._client, event).inc()

    def compiled(self, seconds: float) -> None:
        """See `TemplateRecorder.compiled`."""
        self._metrics.compile_time.labels(self._client).observe(seconds)
