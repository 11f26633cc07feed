"""The window of recent calls, and recent events."""

from __future__ import annotations

import logging

import pytest

from shotclock.bench.stats.statistics import fewest
from shotclock.domain.budget import NS_PER_MS, NS_PER_S
from shotclock.domain.overview import Event
from shotclock.telemetry.events import OF_A_SOURCE, SHOWN, EventLog
from shotclock.telemetry.recent import FEWEST, INTERVAL_S, INTERVALS, MOST_TIMED, WINDOW_S, RecentWindow


class SetClock:
    """Nanoseconds that a test sets."""

    def __init__(self) -> None:
        self.ns = 1_000 * NS_PER_S

    def now_ns(self) -> int:
        return self.ns


def make_window() -> tuple[SetClock, RecentWindow]:
    clock = SetClock()
    return clock, RecentWindow(clock.now_ns, lambda: 5e8 + clock.ns / NS_PER_S)


def test_a_percentile_needs_as_many_calls_as_in_a_report() -> None:
    assert {quantile: fewest(quantile) for quantile in FEWEST} == FEWEST
    clock, window = make_window()
    for calls in range(1, 663):
        window.of_caller("a" if calls % 2 else "b").record(calls * NS_PER_MS, in_time=True, samples=True)
        clock.ns += NS_PER_S if calls in {10, 11, 129, 130, 661, 662} else 0
        if calls in {10, 11, 129, 130, 661, 662}:
            everybody = window.summarise().everybody
            percentiles = (everybody.p50_s, everybody.p95_s, everybody.p99_s)
            assert [value is not None for value in percentiles] == [calls >= n for n in FEWEST.values()]
    assert percentiles == (0.331, 0.629, 0.656)


def test_counts_are_exact_and_leave_with_the_window() -> None:
    clock, window = make_window()
    first, second = window.of_caller("a"), window.of_caller("b")
    for _ in range(MOST_TIMED + 5):
        first.record(NS_PER_MS, in_time=True, samples=True)
    second.record(NS_PER_MS, in_time=True, samples=False, limit="breaker")
    second.record(NS_PER_S, in_time=False, samples=True)
    second.record_late_at_client(3)
    summary = window.summarise()
    assert [recent.caller for recent in summary.callers] == ["b", "a"]
    b, a = summary.callers
    assert (a.calls, a.timed, a.in_time_samples, a.misses) == (MOST_TIMED + 5, MOST_TIMED, MOST_TIMED + 5, 0)
    assert (b.calls, b.in_time_classical, b.misses, b.late_at_client) == (2, 1, 1, 3)
    assert b.refused == summary.everybody.refused == {"breaker": 1}
    assert len(summary.intervals) == INTERVALS
    last = summary.intervals[-1]
    assert (last.samples, last.classical, last.missed) == (MOST_TIMED + 5, 1, 1)
    assert last.begins_unix_s == pytest.approx(5e8 + 1_000)
    clock.ns += (WINDOW_S - INTERVAL_S) * NS_PER_S
    assert window.summarise().everybody.calls == MOST_TIMED + 7
    clock.ns += INTERVAL_S * NS_PER_S
    summary = window.summarise()
    assert (summary.everybody.calls, summary.everybody.timed, summary.callers) == (0, 0, ())


def test_a_summary_is_computed_once_a_second_at_most() -> None:
    clock, window = make_window()
    summary = window.summarise()
    window.of_caller("a").record(1, in_time=True, samples=True)
    assert window.summarise() is summary
    clock.ns += NS_PER_S
    assert window.summarise().everybody.calls == 1


@pytest.fixture
def events() -> EventLog:
    return EventLog()


def report(events: EventLog, logger: str, text: str, **fields: object) -> None:
    record = logging.LogRecord(f"shotclock.{logger}", logging.WARNING, "", 0, text, (), None)
    vars(record).update(fields)
    events.handle(record)


def test_equal_events_are_one_and_a_flood_of_one_source_leaves_the_others(events: EventLog) -> None:
    events.add("info", "service", "ready")
    for number in range(100):
        report(events, "audit", "denied", caller="x\n", peer=f"ipv4:127.0.0.1:{number}")
    (denied, ready) = events.recent()
    assert (denied.source, denied.level, denied.text, denied.count) == (
        "audit",
        "warning",
        "denied caller=x",
        100,
    )
    assert ready.text == "ready"
    for number in range(100):
        report(events, "audit", f"drain {number}")
    assert len(events.recent()) == OF_A_SOURCE + 1
    report(events, "wire.certificates", "a new certificate is in use")
    assert [event.source for event in events.recent()[:2]] == ["certificates", "audit"]
    report(events, "cli.serve", "trouble: reported twice")
    assert len(events.recent()) == OF_A_SOURCE + 2
    for number in range(50):
        events.add("info", str(number), "x" * 1000)
    assert len(events.recent()) == SHOWN
    assert max(len(event.text) for event in events.recent()) == 300


def test_what_loggers_report_at_info_is_heard_while_it_listens(events: EventLog) -> None:
    log = logging.getLogger("shotclock.audit")
    events.attach()
    log.info("resume", extra={"caller": "operator"})
    log.debug("call accepted")
    events.close()
    log.warning("drain")
    assert [Event(0, event.level, event.source, event.text) for event in events.recent()] == [
        Event(0, "info", "audit", "resume caller=operator")
    ]
    assert not log.isEnabledFor(logging.INFO)
