"""Records whether a job's POST was sent and answered, and reads `Retry-After` from refusals.

IBM's client makes several requests for one submit, and its exceptions do not say which of them failed. Only
the POST of the job itself can have taken effect, so the HTTP adapter records it here.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from requests import Response
from requests.models import PreparedRequest

LONGEST_WAIT_S = 86_400.0


@dataclass(slots=True)
class Exchange:
    """One submit on the wire. posted: the job's POST was begun; status: its answer's status, if any."""

    posted: bool = False
    status: int | None = None


_current = threading.local()


@contextmanager
def record_submit() -> Iterator[Exchange]:
    """Records the submit that this thread makes inside the block."""
    _current.exchange = exchange = Exchange()
    try:
        yield exchange
    finally:
        _current.exchange = None


def note_sent(request: PreparedRequest) -> None:
    """Records that a request is about to be sent."""
    exchange: Exchange | None = getattr(_current, "exchange", None)
    if exchange is not None and _is_submit(request):
        exchange.posted, exchange.status = True, None


def note_answered(request: PreparedRequest, answer: Response) -> None:
    """Records that a request was answered."""
    exchange: Exchange | None = getattr(_current, "exchange", None)
    if exchange is not None and _is_submit(request):
        exchange.status = answer.status_code


def _is_submit(request: PreparedRequest) -> bool:
    path = urlsplit(str(request.url)).path
    return request.method == "POST" and path.rstrip("/").endswith("/jobs")


def retry_after_s(answer: Response) -> float:
    """The answer's `Retry-After`, seconds; 0 if it is missing or malformed.

    A date is relative to the answer's `Date`, since the vendor's clock may differ from ours.
    """
    value = str(answer.headers.get("Retry-After") or "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return min(float(value), LONGEST_WAIT_S)
    until = _date(value)
    if until is None:
        return 0.0
    now = _date(str(answer.headers.get("Date") or "")) or datetime.now(UTC)
    wait_s = (until - now).total_seconds()
    return min(wait_s, LONGEST_WAIT_S) if math.isfinite(wait_s) and wait_s > 0.0 else 0.0


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
