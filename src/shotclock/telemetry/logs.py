"""Structured logs on stderr: one line a record, as text or as JSON, with the fields of its `extra`."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import Literal

from shotclock.domain.plural import count

ROOT = "shotclock"
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; the rest was passed as `extra`."""

SUMMARY_S = 10.0

log = logging.getLogger(__name__)


def _fields(record: logging.LogRecord) -> dict[str, object]:
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
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Time (UTC), level, message, then name=value; what cannot be printed is escaped: a record is a line."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        pairs = [f"{name}={_quote(str(value))}" for name, value in _fields(record).items()]
        line = " ".join([_instant(record), record.levelname.lower(), _escape(record.getMessage()), *pairs])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(level: str, style: Literal["text", "json"]) -> None:
    """Sends the package's records of this level and above to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger(ROOT)
    root.handlers = [handler]
    root.setLevel(level.upper())
    root.propagate = False


class ShedSummary:
    """Counts refused calls by limit, and says every ten seconds how many there were."""

    def __init__(self) -> None:
        self._refused: Counter[str] = Counter()

    def record(self, limit: str) -> None:
        """A call was refused by this limit; those of a drain do not count."""
        if limit != "drain":
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
                log.warning("%s", line)
