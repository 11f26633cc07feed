"""Spans of calls through OpenTelemetry's SDK; imported only where traces are on."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_SERVICE_NAME
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import Tracer as OtelTracer

from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.ports import Clock
from shotclock.domain.stages import StageTiming
from shotclock.domain.trace import Attribute, Span, SpanName
from shotclock.domain.trace_context import TraceContext
from shotclock.settings import TracesSettings
from shotclock.telemetry.metrics import STAGE_NAMES

NAMESPACE = "shotclock"

CLOSE_S = 2.0
"""For the spans that wait for a collector at the end of a process, seconds."""

MOST_TEXT = 256
"""Of an attribute's text: a caller chooses its request ids."""


def read_offset_ns() -> int:
    """What the wall clock is ahead of the monotonic one, nanoseconds."""
    return time.time_ns() - time.monotonic_ns()


class ExportedSpan:
    """A Span of the SDK."""

    def __init__(self, tracer: ExportingTracer, span: OtelSpan, offset_ns: int) -> None:
        self._tracer = tracer
        self._span = span
        self._offset_ns = offset_ns
        self._within = set_span_in_context(span, Context())
        self.context = _context_of(span.get_span_context())

    def record_stage(self, timing: StageTiming) -> None:
        """See `Span.record_stage`."""
        if not self._span.is_recording() and not self.context.is_sampled:
            return
        began = timing.start_ns + self._offset_ns
        stage = self._tracer.sdk.start_span(STAGE_NAMES[timing.stage], self._within, start_time=began)
        if timing.emulated_ns:
            stage.set_attribute(f"{NAMESPACE}.emulated_ms", timing.emulated_ns / NS_PER_MS)
        stage.end(began + timing.duration_ns)

    def describe(self, **attributes: Attribute) -> None:
        """See `Span.describe`."""
        for name, value in attributes.items():
            text = value[:MOST_TEXT] if isinstance(value, str) else value
            self._span.set_attribute(f"{NAMESPACE}.{name}", text)

    def end(self, error: str = "") -> None:
        """See `Span.end`."""
        if error:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end(self._tracer.clock.now_ns() + self._offset_ns)


class ExportingTracer:
    """A Tracer over the SDK's provider, which samples, batches and exports.

    clock: the one that times the stages; offset_ns: what the wall clock is ahead of it.
    """

    def __init__(self, provider: TracerProvider, clock: Clock, offset_ns: int | None = None) -> None:
        self._provider = provider
        self.sdk: OtelTracer = provider.get_tracer(NAMESPACE)
        self.clock = clock
        self._offset_ns = offset_ns

    def begin(
        self,
        name: SpanName,
        parent: TraceContext | None,
        *,
        links: Sequence[TraceContext] = (),
        start_ns: int | None = None,
    ) -> Span:
        """See `Tracer.begin`."""
        # for each span: the wall clock is adjusted while a service runs for months
        offset_ns = read_offset_ns() if self._offset_ns is None else self._offset_ns
        start_ns = self.clock.now_ns() if start_ns is None else start_ns
        span = self.sdk.start_span(
            name,
            None if parent is None else set_span_in_context(NonRecordingSpan(_to_sdk(parent)), Context()),
            kind=_kind(name, parent),
            links=[Link(_to_sdk(context)) for context in links],
            start_time=start_ns + offset_ns,
        )
        return ExportedSpan(self, span, offset_ns)

    def close(self) -> None:
        """Exports what still waits, as far as the collector takes it within `CLOSE_S`."""
        # on a thread: the SDK waits for 30 s where the collector cannot be reached
        closing = threading.Thread(target=self._provider.shutdown, name="shotclock-traces", daemon=True)
        closing.start()
        closing.join(CLOSE_S)


def export_traces(
    settings: TracesSettings, service: str, environ: Mapping[str, str], clock: Clock
) -> ExportingTracer:
    """A tracer that exports over OTLP/HTTP; what the settings leave out is read from OTEL_ variables."""
    named = settings.service_name or environ.get(OTEL_SERVICE_NAME) or service
    provider = TracerProvider(
        sampler=ParentBasedTraceIdRatio(settings.sample_ratio) if settings.sample_ratio < 1 else None,
        resource=Resource.create({"service.name": named}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(settings.endpoint or None)))
    return ExportingTracer(provider, clock)


def _kind(name: SpanName, parent: TraceContext | None) -> SpanKind:
    if name in {SpanName.REMOTE_CALL, SpanName.PROVIDER_JOB}:
        return SpanKind.CLIENT
    return SpanKind.SERVER if parent is not None and parent.is_remote else SpanKind.INTERNAL


def _context_of(context: SpanContext) -> TraceContext:
    return TraceContext(context.trace_id, context.span_id, bool(context.trace_flags.sampled))


def _to_sdk(context: TraceContext) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if context.is_sampled else TraceFlags.DEFAULT)
    return SpanContext(context.trace_id, context.span_id, context.is_remote, flags)
