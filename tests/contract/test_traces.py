"""Traces: a span for each stage, exported when it ends, none left open by whoever goes away."""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from opentelemetry.sdk.trace.sampling import DEFAULT_OFF
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client.exposition import choose_encoder

from harness import LoopClock
from shotclock.app.traces import open_tracer
from shotclock.domain.budget import NS_PER_MS, NS_PER_S
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.circuit_batch import CircuitBatch, CircuitPoints
from shotclock.domain.errors import CircuitError, FaultKind, ProviderError, SettingsError
from shotclock.domain.outcome import CircuitOutcome, Done
from shotclock.domain.trace import SpanName
from shotclock.domain.trace_context import TraceContext
from shotclock.providers.scripted import UNLIMITED, Fail, Never
from shotclock.runtime.loop_thread import SystemClock
from shotclock.settings import TracesSettings
from shotclock.telemetry.traces import MOST_TEXT
from shotclock.wire.traceparent import parse_traceparent, trace_metadata
from spans import Spans, parent_id, span_id, trace_in_memory
from virtual_orchestrator import System, make_scripted, make_subproblem, simulate

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
WAITING = ["admission_wait", "submission_bucket_wait", "bind", "submit"]
QASM = 'OPENQASM 3.0; include "stdgates.inc"; qubit q; bit c; x q; c = measure q;'
STAGES = [*WAITING, "queue", "execute", "collect", "post_process"]


def scrape(system: System, accept: str) -> str:
    encode, _ = choose_encoder(accept)
    text: bytes = encode(system.metrics.registry)
    return text.decode()


def trace_system(*steps: Any, **words: Any) -> tuple[Any, Spans]:
    tracer, spans = trace_in_memory(LoopClock())
    return make_scripted(*steps, tracer=tracer, **words), spans


def test_a_call_has_a_span_for_each_stage_and_its_job_is_in_its_trace() -> None:
    make, spans = trace_system()

    async def work(system: System) -> None:
        assert isinstance(await system.orchestrator.solve(make_subproblem()), Done)

    simulate(make, work)
    solve, job = spans.one("solve"), spans.one("provider_job")
    assert [name for name in spans.names() if name in STAGES] == STAGES
    assert all(parent_id(spans.one(stage)) == span_id(solve) for stage in STAGES)
    assert parent_id(job) == span_id(solve)
    assert job.kind is SpanKind.CLIENT
    assert [link.context.span_id for link in job.links] == [span_id(solve)]
    attributes = dict(solve.attributes or {})
    assert attributes["shotclock.request_id"] == "r0"
    assert (attributes["shotclock.outcome"], attributes["shotclock.job_id"]) == ("done", "scripted-0")
    assert (job.attributes or {})["shotclock.job_id"] == "scripted-0"
    ends = {name: spans.one(name).end_time for name in STAGES}
    assert ends["collect"] == spans.one("post_process").start_time
    assert spans.begun == len(spans.ended)


def test_a_span_is_exported_when_its_stage_ends_and_none_is_left_by_who_goes_away() -> None:
    make, spans = trace_system(afterwards=Never())

    async def work(system: System) -> None:
        call = asyncio.create_task(system.orchestrator.solve(make_subproblem(budget_ms=60_000)))
        await asyncio.sleep(0.01)
        assert spans.names() == WAITING
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.sleep(0.01)

    simulate(make, work)
    assert {name: spans.one(name).status.description for name in ("solve", "provider_job")} == {
        "solve": "cancelled",
        "provider_job": "cancelled",
    }
    assert spans.begun == len(spans.ended)


def test_a_deadline_ends_the_spans_with_the_outcome() -> None:
    make, spans = trace_system(afterwards=Never())

    async def work(system: System) -> None:
        await system.orchestrator.solve(make_subproblem(budget_ms=200))
        await asyncio.sleep(0.01)

    simulate(make, work)
    solve = spans.one("solve")
    assert solve.end_time is not None
    assert solve.start_time is not None
    assert solve.end_time - solve.start_time < 200 * NS_PER_MS
    assert (solve.attributes or {})["shotclock.outcome"] == "degraded"
    assert (solve.attributes or {})["shotclock.cause"] == "DeadlinePassed"
    assert "collect" in spans.names()
    assert spans.begun == len(spans.ended)


def test_calls_that_share_a_job_are_linked_to_its_span() -> None:
    make, spans = trace_system(batch_limit=4)

    async def work(system: System) -> None:
        calls = [system.orchestrator.solve(make_subproblem(seed)) for seed in range(3)]
        await asyncio.gather(*calls)

    simulate(make, work)
    job, solves = spans.one("provider_job"), spans.of("solve")
    assert {link.context.span_id for link in job.links} == {span_id(span) for span in solves}
    assert parent_id(job) in {span_id(span) for span in solves}
    assert (job.attributes or {})["shotclock.calls"] == 3
    assert len({span.context.trace_id for span in solves if span.context}) == 3


def test_each_submit_is_a_separate_span_without_the_providers_words() -> None:
    make, spans = trace_system(Fail(ProviderError(FaultKind.TRANSIENT, "token canary-1 is busy")))

    async def work(system: System) -> None:
        assert isinstance(await system.orchestrator.solve(make_subproblem(budget_ms=5_000)), Done)

    simulate(make, work)
    failed, succeeded = spans.of("provider_job")
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "ProviderError")
    assert succeeded.status.status_code is StatusCode.UNSET
    assert "canary" not in "".join(span.to_json() for span in spans.ended)


def test_a_circuit_that_cannot_run_ends_its_span_with_the_error() -> None:
    make, spans = trace_system()
    spec = CircuitSpec("nonsense", 64, request_id="c" * 10_000, budget_ns=10**9)

    async def work(system: System) -> None:
        with pytest.raises(CircuitError):
            await system.orchestrator.execute(spec)

    simulate(make, work)
    span = spans.one("execute_circuit")
    assert span.status.description == "CircuitError"
    assert (span.attributes or {})["shotclock.request_id"] == "c" * MOST_TEXT


def test_a_batch_has_a_span_with_a_call_for_each_job_in_it() -> None:
    make, spans = trace_system(limits=replace(UNLIMITED, max_pubs=2))
    points = CircuitPoints(QASM, 64, (), np.zeros((1, 0)))
    context = TraceContext(7, 99, is_sampled=True, is_remote=True)

    async def work(system: System) -> None:
        batch = CircuitBatch((points,) * 3, "b0", 5 * NS_PER_S, trace=context)
        outcomes: dict[int, CircuitOutcome] = {}
        await system.orchestrator.execute_batch(batch, outcomes.__setitem__)
        assert len(outcomes) == 3

    simulate(make, work)
    batch, calls = spans.one("execute_batch"), spans.of("execute_circuit")
    assert (batch.context.trace_id, parent_id(batch), batch.kind) == (7, 99, SpanKind.SERVER)
    assert (batch.attributes or {})["shotclock.points"] == 3
    assert [parent_id(call) for call in calls] == [span_id(batch)] * 2
    assert {(call.attributes or {})["shotclock.points"] for call in calls} == {1, 2}
    linked = {link.context.span_id for job in spans.of("provider_job") for link in job.links}
    assert linked == {span_id(call) for call in calls}
    assert spans.begun == len(spans.ended)


def test_a_call_continues_its_callers_trace_and_follows_its_decision_to_export() -> None:
    make, spans = trace_system()

    async def work(system: System) -> None:
        for number, is_sampled in enumerate((True, False), 1):
            context = TraceContext(number, 99, is_sampled, is_remote=True)
            await system.orchestrator.solve(make_subproblem(trace=context))

    simulate(make, work)
    solve = spans.one("solve")
    assert solve.context is not None
    assert (solve.context.trace_id, parent_id(solve), solve.kind) == (1, 99, SpanKind.SERVER)
    assert {span.context.trace_id for span in spans.ended if span.context} == {1}


def test_what_is_not_sampled_makes_no_span_and_no_exemplar() -> None:
    tracer, spans = trace_in_memory(LoopClock(), DEFAULT_OFF)

    async def work(system: System) -> None:
        await system.orchestrator.solve(make_subproblem())
        assert "trace_id" not in scrape(system, OPENMETRICS)

    simulate(make_scripted(tracer=tracer), work)
    assert spans.begun == 0


def test_a_bucket_names_the_trace_of_its_last_call_in_openmetrics_alone() -> None:
    make, spans = trace_system()

    async def work(system: System) -> str:
        await system.orchestrator.solve(make_subproblem())
        assert "trace_id" not in scrape(system, "text/plain")
        return scrape(system, OPENMETRICS)

    text = simulate(make, work)
    context = spans.one("solve").context
    assert context is not None
    lines = [line for line in text.splitlines() if f'# {{trace_id="{context.trace_id:032x}"}}' in line]
    families = {line.partition("_bucket{")[0] for line in lines}
    assert families == {"shotclock_call_duration_seconds", "shotclock_stage_duration_seconds"}
    assert len(lines) == 1 + len(STAGES)


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "shotclock.telemetry.traces")
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    assert open_tracer(TracesSettings(), "test", SystemClock())[0] is None
    with pytest.raises(SettingsError, match=r"^traces.enabled: .*; run `pip install 'shotclock\[otel\]'`$"):
        open_tracer(TracesSettings(enabled=True), "test", SystemClock())


def test_a_collector_that_is_away_delays_neither_calls_nor_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    away = TracesSettings(enabled=True, endpoint="http://127.0.0.1:1/v1/traces")
    assert open_tracer(away, "test", SystemClock())[0] is None
    monkeypatch.delenv("OTEL_SDK_DISABLED")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=canary-2")
    tracer, close = open_tracer(away, "test", SystemClock())
    assert tracer is not None
    tracer.begin(SpanName.SOLVE, None).end()
    with caplog.at_level(logging.DEBUG):
        close()
    assert "canary" not in caplog.text


@pytest.mark.parametrize("is_sampled", [True, False])
def test_a_trace_crosses_the_wire_as_w3c_writes_it(is_sampled: bool) -> None:
    metadata = trace_metadata(TraceContext(0xABC, 0xDEF, is_sampled))
    assert metadata is not None
    ((key, text),) = metadata
    assert (key, text) == ("traceparent", f"00-{0xABC:032x}-{0xDEF:016x}-{is_sampled:02x}")
    assert parse_traceparent(text) == TraceContext(0xABC, 0xDEF, is_sampled, is_remote=True)


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        (f"00-{1:032x}-{1:016x}-01", True),
        (f"00-{1:032x}-{1:016x}-ff", True),
        (f"01-{1:032x}-{1:016x}-01-more", True),
        (f"00-{1:032x}-{1:016x}-01-more", False),
        (f"ff-{1:032x}-{1:016x}-01", False),
        (f"00-{0:032x}-{1:016x}-01", False),
        (f"00-{1:032x}-{0:016x}-01", False),
        (f"00-{0xA:032X}-{1:016x}-01", False),
        (f"00-{1:032x}-{1:016x}-01\n", False),
        ("", False),
        ("x" * 8_000, False),
    ],
)
def test_only_the_standards_traceparent_is_read(text: str, is_valid: bool) -> None:
    assert (parse_traceparent(text) is not None) == is_valid
