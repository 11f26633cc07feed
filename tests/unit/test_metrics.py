"""Metrics: every one is documented, no label set is missing, callers cannot create series without end."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from shotclock.domain.accounting import MoneyLeft
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.canary import NO_CANARY, CanaryGroup, CanaryPhase, CanaryReport
from shotclock.domain.outcome import REJECTION_LIMITS, Provenance, Rejection, Shed
from shotclock.domain.stages import Stage
from shotclock.domain.trace_context import TraceContext
from shotclock.placement.error_bursts import BurstRules, BurstWatch
from shotclock.placement.figures.families import VersionChanges
from shotclock.placement.figures.sampler import Sampler
from shotclock.settings import ArmSettings, QuantumSettings, ServeSettings, Settings
from shotclock.telemetry.canary_facts import CanaryFacts
from shotclock.telemetry.exposition import Exposition
from shotclock.telemetry.host_figures import HostFigures
from shotclock.telemetry.metrics import NAMED_CLIENTS, STAGE_NAMES, Metrics, PrometheusRecorder
from shotclock.telemetry.recent import RecentWindow
from shotclock.telemetry.service_facts import ServiceFacts

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "metrics.md"
NOWHERE = Provenance("test", emulated=False, base_version=0)
SHED = Shed(Rejection("breaker", 0, 1, "", 0.0), NOWHERE)


def list_names(metrics: Metrics) -> set[str]:
    """The names as PromQL has them, histograms without their suffixes."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in metrics.registry.collect()
    }


def test_the_page_documents_every_metric_and_no_other() -> None:
    table = re.findall(r"^\| (`[^|]*`) \|", PAGE.read_text(), re.MULTILINE)
    documented = {
        name for cell in table for name in re.findall(r"`([a-z_]+)(?:\{[^`]*\})?`", cell) if "_" in name
    }
    metrics = Metrics()
    metrics.registry.register(ServiceFacts("0"))
    sampler = Sampler(
        lambda: pytest.fail("is not read"), 1.0, ("gpu", "fabric", "components"), VersionChanges({})
    )
    metrics.registry.register(HostFigures(sampler.families))
    metrics.registry.register(HostFigures(BurstWatch(BurstRules(1, 1.0, 1.0)).families))
    metrics.registry.register(CanaryFacts(lambda: NO_CANARY))
    assert documented == list_names(metrics)


def test_a_cancelled_call_is_one_missed_call_of_the_status_page() -> None:
    recent = RecentWindow()
    PrometheusRecorder(Metrics(), "test", recent=recent).record_cancellation(NS_PER_MS)
    everybody = recent.summarise().everybody
    assert (everybody.calls, everybody.misses) == (1, 1)


def test_what_is_not_known_of_a_service_is_absent_and_the_rest_as_read() -> None:
    registry = CollectorRegistry()
    registry.register(ServiceFacts("1.2"))
    names = {sample.name for family in registry.collect() for sample in family.samples}
    assert names == {"shotclock_build_info"}
    whole = CollectorRegistry()
    whole.register(
        ServiceFacts(
            "1.2",
            lambda: 1e9,
            lambda: MoneyLeft(5.0, 1.5, "USD"),
            lambda: {"parked": 2, "failed": 0},
            lambda: True,
        )
    )
    value = whole.get_sample_value
    assert value("shotclock_certificate_not_after_seconds") == 1e9
    assert value("shotclock_provider_budget_left", {"currency": "USD"}) == 1.5
    assert value("shotclock_ledger_rows", {"state": "parked"}) == 2
    assert value("shotclock_ledger_rows", {"state": "failed"}) == 0
    assert value("shotclock_ledger_stopped") == 1


@pytest.mark.parametrize(
    "accept", ["", "text/plain;version=0.0.4", "application/openmetrics-text; version=1.0.0"]
)
def test_a_scrape_is_written_as_the_library_writes_it(accept: str) -> None:
    metrics = Metrics((0.2,))
    recorder = PrometheusRecorder(metrics, "unnamed")
    metrics.registry.register(ServiceFacts("1.2", lambda: 1.7e9, lambda: MoneyLeft(5.0, -0.125, "USD")))
    exposition = Exposition(metrics.registry)
    trace = TraceContext(7, 8, is_sampled=True)
    for name in ("trainer", 'a"b\\c\nd', "λ"):
        recorder.record_outcome(SHED, 3 * NS_PER_MS, 2, name, trace)
        encode, media_type = choose_encoder(accept)
        text: bytes = encode(metrics.registry)
        written, written_as = exposition.write(accept)
        assert [stable(line) for line in written.splitlines()] == [stable(line) for line in text.splitlines()]
        assert written_as == media_type
        assert (b"trace_id" in written) == ("openmetrics" in accept)


def stable(line: bytes) -> bytes:
    """A line without the number that differs at every look."""
    return line.rpartition(b" ")[0] if line.startswith(b"process_") else line


def test_a_canary_has_its_state_and_the_calls_of_both_sides() -> None:
    report = CanaryReport(CanaryPhase.RUNNING, canary=CanaryGroup(9, 1, 2, validation_values=3))
    registry = CollectorRegistry()
    registry.register(CanaryFacts(lambda: report))
    value = registry.get_sample_value
    assert [value("shotclock_canary_state", {"state": phase}) for phase in CanaryPhase] == [0, 1, 0, 0, 0, 0]
    counts = [("canary", "all"), ("canary", "missed"), ("canary", "slow"), ("control", "all")]
    assert [
        value("shotclock_canary_calls", dict(zip(("group", "kind"), labels, strict=True)))
        for labels in counts
    ] == [9, 1, 2, 0]
    assert value("shotclock_canary_validation_values", {"group": "canary"}) == 3


def test_every_limit_has_a_series_from_the_start() -> None:
    written = set()
    for path in (ROOT / "src" / "shotclock").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="Rejection"), args=[ast.Constant(value=limit), *_]):
                    written.add(limit)
    assert {"breaker", "queue_limit", "concurrent_calls"} < written <= set(REJECTION_LIMITS)


def test_every_stage_of_a_call_has_a_name() -> None:
    assert set(STAGE_NAMES) == set(Stage) - {Stage.TOTAL_ITERATION_TIME}


def test_callers_beyond_the_limit_share_one_name() -> None:
    metrics = Metrics()
    recorder = PrometheusRecorder(metrics, "unnamed")
    for number in range(3 * NAMED_CLIENTS):
        recorder.record_outcome(SHED, 1, 2, f"caller-{number}")
    value = metrics.registry.get_sample_value
    assert value("shotclock_calls_total", {"client": "caller-0", "outcome": "shed"}) == 1
    assert value("shotclock_calls_total", {"client": "other", "outcome": "shed"}) == 2 * NAMED_CLIENTS + 1
    clients = {
        sample.labels["client"]
        for family in metrics.registry.collect()
        for sample in family.samples
        if "client" in sample.labels
    }
    assert len(clients) == NAMED_CLIENTS + 1


def test_the_share_of_successes_is_absent_before_the_first_call() -> None:
    metrics = Metrics()
    recorder = PrometheusRecorder(metrics, "test")
    assert metrics.registry.get_sample_value("hybrid_call_success_ratio", {"client": "test"}) is None
    recorder.record_outcome(SHED, 1, 2)
    assert metrics.registry.get_sample_value("hybrid_call_success_ratio", {"client": "test"}) == 0


def test_every_deadline_of_the_settings_is_a_bucket_edge() -> None:
    settings = Settings(
        quantum=QuantumSettings(budget_ms=77, wait_limit_ms=12_345),
        serve=ServeSettings(slo_deadlines_ms=(33, 120)),
        arm={"hybrid-colocated": ArmSettings(budget_ms=140)},
    )
    metrics = Metrics(settings.deadlines_s)
    PrometheusRecorder(metrics, "test").record_outcome(SHED, 120 * NS_PER_MS, 120 * NS_PER_MS)
    value = metrics.registry.get_sample_value
    for edge in ("0.077", "12.345", "0.033", "0.12", "0.14"):
        labels = {"client": "test", "outcome": "shed", "le": edge}
        expected = float(float(edge) >= 0.12)
        assert value("shotclock_call_duration_seconds_bucket", labels) == expected
