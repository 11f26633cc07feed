"""Log records: one line each, whatever a caller puts into them; and the summary of what was refused."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from collections.abc import Iterator
from queue import Queue

import pytest

from shotclock.domain.outcome import Provenance, Rejection, Shed
from shotclock.orchestrator.ledger.job_journal import PaidJobs
from shotclock.orchestrator.ledger.memory import MemoryLedger
from shotclock.telemetry import logs
from shotclock.telemetry.logs import JsonFormatter, ShedSummary, TextFormatter
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder

HOSTILE = 'r1"\n2026-11-30T00:00:00.000+00:00 info drain caller=operator'


def make_record(**fields: object) -> logging.LogRecord:
    record = logging.makeLogRecord(
        {"msg": "call %s", "args": ("refused",), "levelname": "DEBUG", "created": 0.5}
    )
    vars(record).update(fields)
    return record


def test_json_has_the_time_the_level_and_every_field() -> None:
    line = json.loads(JsonFormatter().format(make_record(request_id=HOSTILE, duration_ms=1.5)))
    assert line == {
        "time": "1970-01-01T00:00:00.500+00:00",
        "level": "debug",
        "logger": None,
        "message": "call refused",
        "request_id": HOSTILE,
        "duration_ms": 1.5,
    }


def test_text_is_one_line_in_which_no_field_can_look_like_another() -> None:
    text = TextFormatter().format(make_record(request_id=HOSTILE, caller="trainer"))
    assert "\n" not in text
    assert text.startswith("1970-01-01T00:00:00.500+00:00 debug call refused request_id=")
    assert text.endswith(f"request_id={json.dumps(HOSTILE)} caller=trainer")


@pytest.fixture
def package_logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger(logs.ROOT)
    before = (logger.handlers, logger.level, logger.propagate)
    yield logger
    logger.handlers, logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


NOTICE = re.compile(r"(\d+) log records? lost: stderr was not read")


def _count_lost(messages: list[str]) -> int:
    return sum(int(notice[1]) for message in messages if (notice := NOTICE.fullmatch(message)))


def test_a_notice_of_lost_records_that_is_lost_itself_is_repeated_with_their_number(
    package_logger: logging.Logger,
) -> None:
    waiting: Queue[logging.LogRecord] = Queue(1)
    package_logger.handlers = [logs.RecordQueue(waiting)]
    package_logger.setLevel(logging.INFO)
    for number in range(4):
        package_logger.info("record %d", number)  # 1, 2 and 3 find no place
    waiting.get()
    package_logger.info("record 4")  # its place leaves none for the notice
    waiting.get()
    waiting.maxsize = 2
    package_logger.info("record 5")
    assert [waiting.get().getMessage() for _ in range(2)] == [
        "record 5",
        "3 log records lost: stderr was not read",
    ]


def test_a_reader_that_stops_reading_delays_nobody_and_is_told_what_it_missed(
    package_logger: logging.Logger,
) -> None:
    readable, writable = os.pipe()
    writer = logs.configure("debug", "json", writable, most_waiting=10)
    text = "x" * 65_536  # as much as a pipe takes in
    for number in range(20):
        package_logger.info("record %d", number, extra={"text": text})  # would wait for ever
    messages: list[str] = []
    repeats = 0
    with os.fdopen(readable, "rb") as reader:
        while not repeats or _count_lost(messages) + sum(text.startswith("record") for text in messages) < 20:
            messages.append(json.loads(reader.readline())["message"])
            package_logger.error("once more")
            repeats += 1
        writer.end()
        os.close(writable)
        messages.extend(json.loads(line)["message"] for line in reader)
    assert messages[:3] == ["record 0", "record 1", "record 2"]
    written = sum(NOTICE.fullmatch(message) is None for message in messages)
    assert 0 < _count_lost(messages) <= 20 + repeats - written  # those after the last notice are not in one


def test_a_parked_job_is_logged_with_the_requests_it_answers(caplog: pytest.LogCaptureFixture) -> None:
    async def park() -> None:
        jobs = PaidJobs(MemoryLedger(lambda: 0.0), "scripted")
        await jobs.intend("tag", ("r1", "r2"), 64)
        jobs.park("tag", "the submit's answer was lost")
        await jobs.wait_settled()

    with caplog.at_level(logging.DEBUG, "shotclock.orchestrator"):
        asyncio.run(park())
    (parked,) = [vars(record) for record in caplog.records if record.getMessage() == "job parked"]
    assert parked["levelno"] == logging.DEBUG
    assert (parked["tag"], parked["request_ids"]) == ("tag", ("r1", "r2"))


def test_refused_calls_are_summed_up_by_limit_since_the_last_look() -> None:
    summary = ShedSummary()
    recorder = PrometheusRecorder(Metrics(), "test", on_rejection=summary.record)
    decided = (("drain", 3), ("flag_quantum_path", 4), ("flag_shots", 5), ("expected_gain", 6))
    for limit, number in (("queue_limit", 312), ("remaining_budget", 2_530), *decided):
        refused = Shed(Rejection(limit, 0, 1, "", 0.0), Provenance("test", emulated=False, base_version=0))
        for _ in range(number):
            recorder.record_outcome(refused, 1, 2)
    assert summary.take_line() == "2,842 calls shed in 10 s: remaining_budget 2,530, queue_limit 312"
    assert summary.take_line() == ""
