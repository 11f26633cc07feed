"""Whether a job was posted, as seen on the wire, and what a refusal says of when to come back.

IBM's client makes several requests for one submit, and its exceptions do not tell which of them failed.
Only the POST of the job itself can have taken effect, so the HTTP adapter notes it here.
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
    """One submit on the wire. posted: its job's POST was begun; status: of that POST's answer, if any."""

    posted: bool = False
    status: int | None = None


_current = threading.local()


@contextmanager
def record_submit() -> Iterator[Exchange]:
    """What this thread sends while it is open."""
    _current.exchange = found = Exchange()
    try:
        yield found
    finally:
        _current.exchange = None


def note_sent(request: PreparedRequest) -> None:
    """A request is about to leave."""
    exchange: Exchange | None = getattr(_current, "exchange", None)
    if exchange is not None and _is_submit(request):
        exchange.posted, exchange.status = True, None


def note_answered(request: PreparedRequest, answer: Response) -> None:
    """A request was answered."""
    exchange: Exchange | None = getattr(_current, "exchange", None)
    if exchange is not None and _is_submit(request):
        exchange.status = answer.status_code


def _is_submit(request: PreparedRequest) -> bool:
    path = urlsplit(str(request.url)).path
    return request.method == "POST" and path.rstrip("/").endswith("/jobs")


def retry_after_s(answer: Response) -> float:
    """The answer's `Retry-After`, seconds; 0 where it is missing or makes no sense.

    A date counts from the answer's own `Date`, for the vendor's clock need not be ours.
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
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
