"""Outcomes that a client decided by itself: counted there, and reported to the service with its next call.

A service that is away counts nothing, so its callers say afterwards what they did without it. A report is
sent with every call until one of them is answered. It has the client's number and a sequence, so that it is
counted once.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import Any

from shotclock.domain.outcome import ClientOutcomes
from shotclock.wire.payload import MalformedMessageError
from shotclock.wire.v1 import shotclock_pb2 as pb

MOST_CALLS = 1_000_000
"""Of one kind in one report; what is beyond it goes into the next."""

CLIENTS_OF_A_CALLER = 64
"""Processes whose last report is remembered, for each name in a certificate."""


class UnreportedCalls:
    """The client's side: what it decided since the last report that the service answered."""

    def __init__(self) -> None:
        self._client = secrets.randbits(64)
        self._sequence = 0
        self._waiting = ClientOutcomes()
        self._sent = ClientOutcomes()

    def add(self, outcomes: ClientOutcomes) -> None:
        """Counts what is to be reported."""
        self._waiting += outcomes

    def report(self) -> Any | None:
        """The message to send with a call, None if there is nothing to report."""
        if not self._sent and self._waiting:
            self._sequence += 1
            self._sent = self._waiting.limit(MOST_CALLS)
            self._waiting -= self._sent
        if not self._sent:
            return None
        sent = self._sent
        return pb.ClientReport(
            client=self._client,
            sequence=self._sequence,
            late=sent.late,
            unreachable=sent.unreachable,
            fallback=sent.fallback,
            fallback_in_time=sent.fallback_in_time,
        )

    def acknowledge(self, report: Any | None) -> None:
        """The service answered a call that had this report."""
        if report is not None and report.sequence == self._sequence:
            self._sent = ClientOutcomes()


class ReportReader:
    """The service's side: reads each report once."""

    def __init__(self) -> None:
        self._last: dict[str, OrderedDict[int, int]] = {}

    def read(self, report: Any, caller: str) -> ClientOutcomes:
        """What is new in it; nothing in one that was read before. Raises MalformedMessageError."""
        outcomes = ClientOutcomes(report.late, report.unreachable, report.fallback, report.fallback_in_time)
        most = max(outcomes.late, outcomes.unreachable, outcomes.fallback)
        if most > MOST_CALLS:
            raise MalformedMessageError(f"report: at most {MOST_CALLS} calls of a kind (got {most})")
        if outcomes.fallback_in_time > outcomes.fallback:
            raise MalformedMessageError(
                f"report.fallback_in_time: must be at most fallback, {outcomes.fallback} "
                f"(got {outcomes.fallback_in_time})"
            )
        clients = self._last.setdefault(caller, OrderedDict())
        is_new = report.sequence > clients.pop(report.client, 0)
        clients[report.client] = report.sequence
        if len(clients) > CLIENTS_OF_A_CALLER:
            clients.popitem(last=False)
        return outcomes if is_new else ClientOutcomes()
