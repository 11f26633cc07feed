"""Structured logs on stderr: one line a record, as text or as JSON, with the fields of its `extra`.

A thread writes them: a slow reader of stderr, or a terminal that is held, would stop the event loop.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import sys
from collections import Counter
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from queue import Full, Queue
from typing import Any, Literal

from shotclock.domain.flags import FLAG_LIMITS
from shotclock.domain.outcome import EXPECTED_GAIN
from shotclock.domain.plural import count

ROOT = "shotclock"
TRACES = "opentelemetry"
"""The logger of the SDK, which says what it could not export."""
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; the rest was passed as `extra`."""

SUMMARY_S = 10.0

STDERR = 2

MOST_WAITING = 10_000
"""Records that wait for stderr; further ones are lost and counted."""

END_S = 2.0
"""For the records that still wait at the end of the process, seconds."""

DECIDED_LIMITS = frozenset({"drain", EXPECTED_GAIN, *FLAG_LIMITS})
"""The limits that an operator or a policy decided: calls that they refuse do not mean overload."""

log = logging.getLogger(__name__)
shed_log = logging.getLogger(f"{ROOT}.shed")


def read_fields(record: logging.LogRecord) -> dict[str, object]:
    """What was passed as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in STANDARD}


def _instant(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _escape(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)[1:-1]


def _quote(value: str) -> str:
    """A value with spaces or quotes is quoted, so that the next name is found."""
    return value if value.isprintable() and not {" ", '"'} & set(value) and value else json.dumps(value)


class JsonFormatter(logging.Formatter):
    """One JSON object: time (UTC), level, logger, message, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        line = {
            "time": _instant(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **read_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Time (UTC), level, message, then name=value; what cannot be printed is escaped: a record is a line."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        pairs = [f"{name}={_quote(str(value))}" for name, value in read_fields(record).items()]
        line = " ".join([_instant(record), record.levelname.lower(), _escape(record.getMessage()), *pairs])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class RawStream:
    """Writes without a buffer: a write that hangs would hold its lock until after the interpreter's end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._encoding = sys.stderr.encoding

    def write(self, text: str) -> None:
        """All of it, however long that takes."""
        data = text.encode(self._encoding, "backslashreplace")
        while data:
            data = data[os.write(self._descriptor, data) :]

    def flush(self) -> None:
        """Nothing waits here."""


class RecordQueue(QueueHandler):
    """Hands records to the thread that writes them, and never waits for it."""

    def __init__(self, waiting: Queue[Any]) -> None:
        super().__init__(waiting)
        self._waiting = waiting
        self._lost = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Its arguments may change before it is written, so its message is made now."""
        record.msg, record.args = record.getMessage(), None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """See `QueueHandler`; the first record that finds a place again says how many were lost."""
        try:
            self._waiting.put_nowait(record)
        except Full:
            self._lost += 1
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            log.warning("%s lost: stderr was not read", count(lost, "log record"))
            if self._lost:  # the notice found no place: the next one says it
                self._lost = lost


class RecordWriter(QueueListener):
    """Writes the records on its own thread."""

    def __init__(self, waiting: Queue[Any], handler: logging.Handler) -> None:
        super().__init__(waiting, handler)
        self._waiting = waiting

    def end(self) -> None:
        """Writes what still waits, as far as stderr takes it within `END_S`."""
        writing, self._thread = self._thread, None
        if writing is None:
            return
        try:
            self._waiting.put(None, timeout=END_S)  # the listener's own mark of the end
        except Full:
            return
        writing.join(END_S)


def configure(
    level: str, style: Literal["text", "json"], descriptor: int = STDERR, most_waiting: int = MOST_WAITING
) -> RecordWriter:
    """Sends the package's records of this level and above to stderr, until `end` or the process's end.

    Further handlers get those from info on.
    """
    handler = logging.StreamHandler(RawStream(descriptor))
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    waiting: Queue[Any] = Queue(most_waiting)
    writer = RecordWriter(waiting, handler)
    root = logging.getLogger(ROOT)
    to_stderr = RecordQueue(waiting)
    to_stderr.setLevel(level.upper())
    root.handlers = [to_stderr]
    root.setLevel(min(to_stderr.level, logging.INFO))
    root.propagate = False
    traces = logging.getLogger(TRACES)
    traces.handlers, traces.propagate = [to_stderr], False
    traces.setLevel(logging.WARNING)
    writer.start()
    atexit.register(writer.end)
    return writer


class ShedSummary:
    """Counts refused calls by limit, and says every ten seconds how many there were."""

    def __init__(self) -> None:
        self._refused: Counter[str] = Counter()

    def record(self, limit: str) -> None:
        """A call was refused by this limit; one of `DECIDED_LIMITS` does not count."""
        if limit not in DECIDED_LIMITS:
            self._refused[limit] += 1

    def take_line(self) -> str:
        """Of the calls since the last look, "" if none was refused."""
        refused, self._refused = self._refused, Counter()
        if not refused:
            return ""
        by_limit = ", ".join(f"{limit} {number:,}" for limit, number in refused.most_common())
        return f"{count(refused.total(), 'call')} shed in {SUMMARY_S:g} s: {by_limit}"

    async def run(self) -> None:
        """Logs the summaries until it is cancelled."""
        while True:
            await asyncio.sleep(SUMMARY_S)
            if line := self.take_line():
                shed_log.warning("%s", line)
