"""IBM's exceptions as ProviderErrors: what took effect decides, not what the client calls it.

The client keeps an HTTP status in the text of some exceptions and drops it in others, but the request
and its answer stay in the chain of causes. A submit is one POST; what fails before it never reached a
queue, and what is answered was either accepted or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum

from qiskit_ibm_runtime.exceptions import (
    IBMInputValueError,
    RuntimeInvalidStateError,
    RuntimeJobFailureError,
    RuntimeJobMaxTimeoutError,
    RuntimeJobNotFound,
    RuntimeProgramNotFound,
)
from requests import ConnectTimeout, Request, RequestException, Response
from requests.models import PreparedRequest
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NameResolutionError, NewConnectionError

from shotclock.domain.errors import FaultKind, JobEndedError, ProviderError
from shotclock.providers.client import SessionGoneError, UnreadableError
from shotclock.providers.credentials import Secret

# IBM's client repeats a POST that was answered so, "IBM Quantum API guarantees that retrying on specific
# 5xx errors is safe" (qiskit-ibm-runtime 0.51, api/session.py, STATUS_FORCELIST).
NOT_ACCEPTED = frozenset({500, 502, 503, 504, 520, 521, 522, 524})
# 409 instance limit, 423 reserved by another, 429 rate (1202) or pending limit (3458).
TRY_LATER = frozenset({408, 409, 423, 425, 429})
# Job failures for which IBM's error code registry says "Retry the action"; a system error is not charged
# (IBM docs, "Workload usage").
SYSTEM_CODES = frozenset({1006, 1008, 1010, 1011, 9999})
SESSION_CLOSED = 1217
JOB_ENDED = (RuntimeJobFailureError, RuntimeJobMaxTimeoutError, RuntimeInvalidStateError, RuntimeJobNotFound)
LONGEST = 300


class Doing(Enum):
    """What a failed call was for."""

    SUBMIT = "submit"
    READ = "read"


class ResultsUnreadableError(Exception):
    """A job completed and its results cannot be read."""


class UsageExhaustedError(Exception):
    """The instance has no usage left; a job would wait until it has."""


def translated(error: Exception, doing: Doing, secret: Secret) -> ProviderError:
    """The fault that a vendor's exception is; the key is in no word of it."""
    text = f"ibm: {_advice(error)}{secret.redacted(_text(error) or type(error).__name__)[:LONGEST]}"
    if isinstance(error, ResultsUnreadableError):
        return UnreadableError(FaultKind.PERMANENT, text)
    if f"(code {SESSION_CLOSED})" in text:
        return SessionGoneError(FaultKind.TRANSIENT, text)
    kind = _kind(error, doing)
    gone = doing is Doing.READ and status_of(error) == 404
    return (JobEndedError if gone or isinstance(error, JOB_ENDED) else ProviderError)(kind, text)


def status_of(error: BaseException) -> int | None:
    """The HTTP status that the exception came from; None where there was no answer."""
    return next((found.status_code for found in _answers(error)), None)


def _kind(error: Exception, doing: Doing) -> FaultKind:
    match error:
        case RuntimeJobMaxTimeoutError() | RuntimeInvalidStateError() | RuntimeJobNotFound():
            return FaultKind.PERMANENT
        case RuntimeJobFailureError():
            return FaultKind.TRANSIENT if job_code(str(error)) in SYSTEM_CODES else FaultKind.PERMANENT
        case UsageExhaustedError() | IBMInputValueError() | RuntimeProgramNotFound():
            return FaultKind.PERMANENT
    status = status_of(error)
    if status is not None and status >= 400:
        return _of_status(status, doing)
    if doing is Doing.READ or _never_sent(error):
        return FaultKind.TRANSIENT
    # The POST left and no answer came, or one that is not understood: it may have taken effect.
    return FaultKind.AMBIGUOUS if _posted(error) else FaultKind.PERMANENT


def _of_status(status: int, doing: Doing) -> FaultKind:
    if status in NOT_ACCEPTED or status in TRY_LATER:
        return FaultKind.TRANSIENT
    if status >= 500:
        return FaultKind.AMBIGUOUS if doing is Doing.SUBMIT else FaultKind.TRANSIENT
    return FaultKind.PERMANENT


def job_code(text: str) -> int | None:
    """IBM's number in the text of a failed job."""
    found = re.search(r"[Ee]rror code[: ]+(\d{3,5})", text)
    return int(found[1]) if found else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and what it came from, also where `raise … from None` hides it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = [argument for argument in one.args if isinstance(argument, BaseException)]
        waiting += [*inner, getattr(one, "reason", None), one.__context__, one.__cause__]
        waiting = [which for which in waiting if which is None or isinstance(which, BaseException)]


def _answers(error: BaseException) -> Iterator[Response]:
    for one in _chain(error):
        if isinstance(one, RequestException) and one.response is not None:
            yield one.response


def _requests(error: BaseException) -> Iterator[Request | PreparedRequest]:
    for one in _chain(error):
        if isinstance(one, RequestException) and one.request is not None:
            yield one.request


def _posted(error: BaseException) -> bool:
    """Whether the request that failed is the submit itself; an unknown one counts as it."""
    methods = [request.method for request in _requests(error)]
    return not methods or "POST" in methods


def _never_sent(error: BaseException) -> bool:
    """Whether no connection came about, or only a GET before the submit failed."""
    unconnected = (ConnectTimeout, NewConnectionError, ConnectTimeoutError, NameResolutionError)
    if any(isinstance(one, unconnected) for one in _chain(error)):
        return True
    return any(isinstance(one, RequestException) for one in _chain(error)) and not _posted(error)


def _text(error: Exception) -> str:
    """What IBM says, without the address that its client puts around."""
    for answer in _answers(error):
        try:
            first = answer.json()["errors"][0]
            return f"{answer.status_code} {first['message']} (code {first['code']})"
        except (ValueError, KeyError, IndexError, TypeError):
            continue
    dropped = next((one for one in _chain(error) if isinstance(one, MaxRetryError)), None)
    return str(dropped.reason if dropped is not None and dropped.reason else error).strip("'\"")


def _advice(error: Exception) -> str:
    match status_of(error):
        case 401:
            return "the key was refused; check quantum.credentials_file: "
        case 403:
            return "the account may not do this; check quantum.instance and its plan: "
        case _:
            return ""
