"""The trace of a call: a span for each of its parts, linked across threads, processes and the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Protocol

from shotclock.domain.outcome import CircuitOutcome, Degraded, Failed, Late, Outcome, Rejection, Shed
from shotclock.domain.stages import StageTiming
from shotclock.domain.trace_context import TraceContext

Attribute = str | int | float | bool

CANCELLED = "cancelled"


class SpanName(StrEnum):
    """The spans that have stages or other spans in them."""

    TRAINING_CALL = "training_call"
    """From a step boundary's proposal to what became of its answer."""
    REMOTE_CALL = "remote_call"
    """A client's request to a remote orchestrator, until its answer."""
    SOLVE = "solve"
    """A subproblem in the orchestrator, from its arrival to its outcome."""
    EXECUTE = "execute_circuit"
    """A user circuit in the orchestrator, likewise."""
    EXECUTE_BATCH = "execute_batch"
    """A batch of circuits in the orchestrator; each of its calls is an `execute_circuit` in it."""
    PROVIDER_JOB = "provider_job"
    """One submit with the provider, until its samples are here; linked to each call that shares it."""


class Span(Protocol):
    """A part of a trace; it is exported when it ends, and each of its stages when that ends."""

    @property
    def context(self) -> TraceContext:
        """What makes other spans children of this one."""

    def record_stage(self, timing: StageTiming) -> None:
        """Exports a stage that has ended as a child."""

    def describe(self, **attributes: Attribute) -> None:
        """Adds attributes: names, counts and reasons of ours, never a text of a provider or a kernel."""

    def end(self, error: str = "") -> None:
        """Ends it; error: one word for why it failed, "" if it did not."""


class Tracer(Protocol):
    """Begins spans."""

    def begin(
        self,
        name: SpanName,
        parent: TraceContext | None,
        *,
        links: Sequence[TraceContext] = (),
        start_ns: int | None = None,
    ) -> Span:
        """A span that began at this instant of the monotonic clock, now by default.

        parent: None begins a trace, or continues the one that the calling program has active.
        links: spans that this one is for, and no part of.
        """


@contextmanager
def open_span(
    tracer: Tracer, name: SpanName, parent: TraceContext | None, links: Sequence[TraceContext] = ()
) -> Iterator[Span]:
    """A span around the context, which ends it whatever happens; describe the outcome within."""
    span = tracer.begin(name, parent, links=links)
    error = ""
    try:
        yield span
    except asyncio.CancelledError:
        error = CANCELLED
        raise
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        span.end(error)


def describe_call(span: Span, request_id: str, caller: str) -> None:
    """Which call it is."""
    span.describe(request_id=request_id)
    if caller:
        span.describe(client=caller)


def describe_outcome(span: Span, outcome: Outcome | CircuitOutcome) -> None:
    """How the call ended, without any text from elsewhere."""
    provenance = outcome.provenance
    span.describe(
        outcome=type(outcome).__name__.lower(),
        provider=provenance.provider,
        emulated=provenance.emulated,
        attempts=provenance.attempts,
        calls_in_job=provenance.sharers,
        cached=provenance.cached,
    )
    if provenance.job_id:
        span.describe(job_id=provenance.job_id)
    match outcome:
        case Shed(rejection=Rejection(limit=limit)) | Degraded(cause=Rejection(limit=limit)):
            span.describe(limit=limit)
        case Degraded(cause=cause) | Late(cause=cause) | Failed(cause=cause):
            span.describe(cause=type(cause).__name__)
