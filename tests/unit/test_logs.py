"""Log records: one line each, whatever a caller puts into them; and the summary of what was refused."""

from __future__ import annotations

import json
import logging

from shotclock.domain.outcome import Provenance, Rejection, Shed
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


def test_refused_calls_are_summed_up_by_limit_since_the_last_look() -> None:
    summary = ShedSummary()
    recorder = PrometheusRecorder(Metrics(), "test", on_rejection=summary.record)
    for limit, number in (("queue_limit", 312), ("remaining_budget", 2_530), ("drain", 3)):
        refused = Shed(Rejection(limit, 0, 1, "", 0.0), Provenance("test", emulated=False, base_version=0))
        for _ in range(number):
            recorder.record_outcome(refused, 1, 2)
    assert summary.take_line() == "2,842 calls shed in 10 s: remaining_budget 2,530, queue_limit 312"
    assert summary.take_line() == ""
