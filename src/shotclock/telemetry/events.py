"""Recent events for the status page: the newest log records, in memory."""

from __future__ import annotations

import logging
import time
from collections import deque

from shotclock.domain.overview import Event
from shotclock.telemetry.logs import ROOT, read_fields

SHOWN = 20

OF_A_SOURCE = 12
"""As many events of one source are held, so that a flood of one leaves the others."""

LONGEST = 300
"""Characters of an event's text."""

UNHEARD = ("shotclock.cli",)
"""The command's reports to its terminal, of which the service has its events already."""


class EventLog(logging.Handler):
    """Holds what the package's loggers report at info and above; equal events of one source are one."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._by_source: dict[str, deque[Event]] = {}
        self._level_before = logging.NOTSET

    def attach(self) -> None:
        """Listens to the package's loggers, which must report info for it."""
        root = logging.getLogger(ROOT)
        self._level_before = root.level
        root.addHandler(self)
        if root.getEffectiveLevel() > logging.INFO:
            root.setLevel(logging.INFO)

    def close(self) -> None:
        """Listens no longer."""
        root = logging.getLogger(ROOT)
        if self in root.handlers:
            root.removeHandler(self)
            root.setLevel(self._level_before)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`; the caller holds the handler's lock."""
        if record.name.startswith(UNHEARD):
            return
        fields = {name: value for name, value in read_fields(record).items() if name != "peer"}
        pairs = " ".join(f"{name}={value}" for name, value in fields.items())
        text = " ".join(f"{record.getMessage()} {pairs}".split())
        source = record.name.rpartition(".")[2]
        self._add(Event(record.created, record.levelname.lower(), source, text[:LONGEST]))

    def add(self, level: str, source: str, text: str) -> None:
        """Adds what no logger reports."""
        self.acquire()
        try:
            self._add(Event(time.time(), level, source, " ".join(text.split())[:LONGEST]))
        finally:
            self.release()

    def _add(self, event: Event) -> None:
        events = self._by_source.setdefault(event.source, deque(maxlen=OF_A_SOURCE))
        count = event.count
        for earlier in list(events):
            if earlier.text == event.text:
                count += earlier.count
                events.remove(earlier)
        events.append(Event(event.at_unix_s, event.level, event.source, event.text, count))

    def recent(self) -> tuple[Event, ...]:
        """The newest, newest first."""
        self.acquire()
        try:
            events = [event for of_source in self._by_source.values() for event in of_source]
        finally:
            self.release()
        return tuple(sorted(events, key=lambda event: event.at_unix_s, reverse=True)[:SHOWN])
