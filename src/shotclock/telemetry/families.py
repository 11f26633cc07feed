"""The metric families of one process: names, labels and bucket edges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

from shotclock.domain.errors import MachineError

WINDOW = 100
"""Number of calls over which `hybrid_call_success_ratio` is computed."""

DURATION_BUCKETS_S = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75),
    *(1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0),
)
"""Edges of the histogram of calls, seconds; every deadline of the settings is one more."""

STAGE_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Fewer for the stages, which are most of what a scrape formats; the deadlines are edges here too."""

SUBMIT_BUCKETS_S = (0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
"""Bucket edges include the usual deadlines: 50, 100 and 200 ms, 1, 2 and 30 s."""

COMPILE_BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
"""Compiling a template takes 8 to 50 ms, a wide user circuit takes seconds."""


LAG_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Metrics:
    """The families in one registry.

    `client` is who calls: the name in a caller's certificate, an arm of a benchmark. `arm` is on what callers
    share, such as the queue or the breaker: the arm of a benchmark, and otherwise "", which Prometheus treats
    as no label.

    deadlines_s: the deadlines that matter; each is a bucket edge of the call and stage histograms.
    """

    def __init__(self, deadlines_s: Iterable[float] = ()) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double a scrape
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        deadlines = set(deadlines_s)
        self.call_duration = Histogram(
            "shotclock_call_duration_seconds",
            "From a call's arrival in this process to its outcome.",
            ["client", "outcome"],
            buckets=sorted(deadlines.union(DURATION_BUCKETS_S)),
            registry=registry,
        )
        self.stage_duration = Histogram(
            "shotclock_stage_duration_seconds",
            "One stage of a call, emulated waiting included.",
            ["client", "stage"],
            buckets=sorted(deadlines.union(STAGE_BUCKETS_S)),
            registry=registry,
        )
        self.calls = Counter("shotclock_calls", "Calls by outcome.", ["client", "outcome"], registry=registry)
        self.calls_in_time = Counter(
            "shotclock_calls_in_time",
            "Calls answered by their deadline, by what the answer had: samples of a QPU, or none.",
            ["client", "answer"],
            registry=registry,
        )
        self.success_ratio = Gauge(
            "hybrid_call_success_ratio",
            f"Share of the last {WINDOW} calls whose samples came by the deadline and passed their checks.",
            ["client"],
            registry=registry,
        )
        self.rejections = Counter(
            "shotclock_rejections",
            "Calls refused before submission, by the limit that refused them.",
            ["client", "limit"],
            registry=registry,
        )
        self.stale_parameters = Gauge(
            "stale_parameter_count",
            "Answers computed on an older model, since the start of this process.",
            ["client"],
            registry=registry,
        )
        self.stale_decisions = Counter(
            "shotclock_stale_decisions",
            "Answers computed on an older model, by the aggregator's decision.",
            ["client", "decision"],
            registry=registry,
        )
        self.decisions = Counter(
            "shotclock_decisions",
            "Answers by the aggregator's decision.",
            ["client", "decision"],
            registry=registry,
        )
        self.integrity_failures = Counter(
            "shotclock_integrity_failures",
            "Messages that did not match their checksum: requests as received, answers as callers got them.",
            ["client", "message"],
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
        self._add_shared(registry)

    def _add_shared(self, registry: CollectorRegistry) -> None:
        """The families of what callers share."""
        self.submit_latency = Histogram(
            "circuit_submit_latency_seconds",
            "From submit to the provider's acceptance.",
            ["arm"],
            buckets=SUBMIT_BUCKETS_S,
            registry=registry,
        )
        self.queue_length = Gauge(
            "qpu_queue_length", "Calls waiting in the orchestrator.", ["arm"], registry=registry
        )
        self.retries = Counter("qpu_job_retries", "Attempts after the first.", ["arm"], registry=registry)
        self.lookups = Counter(
            "shotclock_result_cache",
            "Lookups of samples of an equal earlier call: hit or miss.",
            ["arm", "event"],
            registry=registry,
        )
        self.pre_evaluations = Counter(
            "shotclock_pre_evaluations",
            "Local pre-evaluations by decision; whether the samples beat the incumbent: yes, no, unknown.",
            ["arm", "decision", "beat"],
            registry=registry,
        )
        self.breaker_state = Gauge(
            "shotclock_breaker_state",
            "1 for the state the provider's breaker is in, 0 for the others.",
            ["arm", "state"],
            registry=registry,
        )
        self.templates = Counter(
            "shotclock_template_cache",
            "Templates: hit or miss in memory, loaded from disk, evicted from memory, refused on disk.",
            ["arm", "event"],
            registry=registry,
        )
        self.compile_time = Histogram(
            "shotclock_template_compile_seconds",
            "Compiling one template, in the worker.",
            ["arm"],
            buckets=COMPILE_BUCKETS_S,
            registry=registry,
        )
        self.worker_restarts = Counter(
            "shotclock_worker_restarts",
            "Worker processes replaced: abandoned by their callers, over their time or memory, died, grown.",
            ["arm", "reason"],
            registry=registry,
        )
        self.flag_evaluations = Counter(
            "shotclock_flag_evaluations",
            "Evaluations of feature flags; STALE and ERROR use the last good value.",
            ["arm", "flag", "reason"],
            registry=registry,
        )
        self.troubles = Counter(
            "shotclock_troubles",
            "Problems that need attention, such as a parked job or a stopped ledger; each is logged.",
            registry=registry,
        )
        self.loop_lag = Histogram(
            "shotclock_event_loop_lag_seconds",
            "How late a timer of the service's event loop is, ten times a second.",
            buckets=LAG_BUCKETS_S,
            registry=registry,
        )
        self.closed_connections = Counter(
            "shotclock_http_connections_closed",
            "HTTP connections that a limit closed: connections, header, idle, answer, descriptors.",
            ["limit"],
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
