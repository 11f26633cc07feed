"""What a client decided by itself reaches the service once, however often its report is sent."""

from __future__ import annotations

from typing import Any

import pytest

from shotclock.domain.outcome import ClientOutcomes
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder
from shotclock.wire.payload import MalformedMessageError
from shotclock.wire.reports import CLIENTS_OF_A_CALLER, MOST_CALLS, ReportReader, UnreportedCalls
from shotclock.wire.v1 import shotclock_pb2 as pb

LATE = ClientOutcomes(late=1)
FALLBACK = ClientOutcomes(fallback=1, fallback_in_time=1)


def test_a_report_is_sent_until_it_is_acknowledged_and_counted_once() -> None:
    client, service = UnreportedCalls(), ReportReader()
    assert client.report() is None
    client.add(LATE)
    first = client.report()
    client.add(FALLBACK)  # meanwhile another call ended without the service
    assert client.report() == first
    assert service.read(first, "trainer") == LATE
    assert not service.read(first, "trainer")
    client.acknowledge(first)
    second = client.report()
    client.acknowledge(first)  # the answer to another call that had the first report
    assert client.report() == second
    assert service.read(second, "trainer") == FALLBACK
    client.acknowledge(second)
    assert client.report() is None
    assert service.read(second, "another caller") == FALLBACK


def test_a_restarted_service_gets_only_what_is_not_acknowledged() -> None:
    client = UnreportedCalls()
    client.add(LATE)
    client.acknowledge(client.report())
    client.add(LATE)
    assert ReportReader().read(client.report(), "trainer") == LATE


def test_more_calls_than_one_report_may_hold_are_in_the_next() -> None:
    client, service = UnreportedCalls(), ReportReader()
    client.add(ClientOutcomes(fallback=MOST_CALLS + 5, fallback_in_time=MOST_CALLS + 2))
    total = ClientOutcomes()
    while (report := client.report()) is not None:
        total += service.read(report, "trainer")
        client.acknowledge(report)
    assert total == ClientOutcomes(fallback=MOST_CALLS + 5, fallback_in_time=MOST_CALLS + 2)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"late": MOST_CALLS + 1}, "report: at most 1000000 calls of a kind"),
        ({"fallback": 1, "fallback_in_time": 2}, "report.fallback_in_time: must be at most fallback"),
    ],
)
def test_a_report_that_cannot_be_true_is_refused(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(MalformedMessageError, match=complaint):
        ReportReader().read(pb.ClientReport(client=1, sequence=1, **fields), "trainer")


def test_the_memory_of_clients_is_bounded() -> None:
    service = ReportReader()
    for client in range(CLIENTS_OF_A_CALLER + 1):
        assert service.read(pb.ClientReport(client=client, sequence=3, late=1), "trainer") == LATE
    newest = pb.ClientReport(client=CLIENTS_OF_A_CALLER, sequence=3, late=1)
    assert not service.read(newest, "trainer")
    assert service.read(pb.ClientReport(client=0, sequence=3, late=1), "trainer") == LATE


def test_reported_calls_are_calls_of_their_caller() -> None:
    metrics = Metrics()
    recorder = PrometheusRecorder(metrics, "unnamed")
    recorder.record_report(ClientOutcomes(late=2, unreachable=3, fallback=5, fallback_in_time=4), "trainer")
    for outcome, expected in (("late_at_client", 2), ("unreachable", 3), ("fallback_at_client", 5)):
        labels = {"client": "trainer", "outcome": outcome}
        assert metrics.registry.get_sample_value("shotclock_calls_total", labels) == expected
    in_time = {"client": "trainer", "answer": "classical"}
    assert metrics.registry.get_sample_value("shotclock_calls_in_time_total", in_time) == 4
