"""Translates IBM's exceptions into ProviderErrors by what took effect, not by the exception's name.

The client keeps the HTTP status in the text of some exceptions and drops it in others, but the request and
its answer stay in the chain of causes. A submit is one POST: a failure before it never reached a queue, and
its answer says whether the job was accepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum

from ibm_cloud_sdk_core import ApiException  # type: ignore[import-untyped]
from qiskit_ibm_runtime.accounts.exceptions import InvalidAccountError
from qiskit_ibm_runtime.exceptions import (
    IBMInputValueError,
    RuntimeInvalidStateError,
    RuntimeJobFailureError,
    RuntimeJobMaxTimeoutError,
    RuntimeJobNotFound,
    RuntimeProgramNotFound,
)
from requests import ConnectTimeout, RequestException, Response
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NameResolutionError, NewConnectionError

from shotclock.domain.errors import FaultKind, JobEndedError, ProviderError
from shotclock.providers.client import JobNotFoundError, SessionGoneError, UnreadableError
from shotclock.providers.credentials import Secret
from shotclock.providers.edge import describe
from shotclock.providers.ibm_exchange import Exchange, retry_after_s
from shotclock.providers.ibm_tokens import TokenError

# IBM's client repeats a POST with these answers: "IBM Quantum API guarantees that retrying on specific
# 5xx errors is safe" (qiskit-ibm-runtime 0.51, api/session.py, STATUS_FORCELIST).
NOT_ACCEPTED = frozenset({500, 502, 503, 504, 520, 521, 522, 524})
# 409 instance limit, 423 reserved by another, 429 rate (1202) or pending limit (3458).
TRY_LATER = frozenset({408, 409, 423, 425, 429})
# Job failures for which IBM's error code registry says "Retry the action"; a system error is not charged
# (IBM docs, "Workload usage").
SYSTEM_CODES = frozenset({1006, 1008, 1010, 1011, 9999})
SESSION_CLOSED = 1217
JOB_ENDED = (RuntimeJobFailureError, RuntimeJobMaxTimeoutError, RuntimeInvalidStateError)
LONGEST = 300


class Doing(Enum):
    """The kind of request that failed."""

    SUBMIT = "submit"
    READ = "read"


class ResultsUnreadableError(Exception):
    """A job completed, but its results cannot be read."""


class UsageExhaustedError(Exception):
    """The instance has no usage left; a job would wait until it has some again."""


def translate(
    error: Exception, doing: Doing, secret: Secret, exchange: Exchange | None = None
) -> ProviderError:
    """The fault that one of the client's exceptions means; its text never contains the key.

    exchange: what was sent and answered, for a submit.
    """
    words = secret.redact(_text(error) or type(error).__name__)[:LONGEST]
    text = f"ibm: {_advice(error)}{words}"
    wait_s = _retry_after_s(error)
    if isinstance(error, ResultsUnreadableError):
        return UnreadableError(FaultKind.PERMANENT, text)
    if f"(code {SESSION_CLOSED})" in text:
        return SessionGoneError(FaultKind.TRANSIENT, text)
    if doing is Doing.SUBMIT:
        return ProviderError(_kind_of_submit(error, exchange), text, wait_s)
    kind = _kind_of_read(error)
    if isinstance(error, RuntimeJobNotFound) or status_of(error) == 404:
        return JobNotFoundError(kind, text)
    return (JobEndedError if isinstance(error, JOB_ENDED) else ProviderError)(kind, text, wait_s)


def status_of(error: BaseException) -> int | None:
    """The HTTP status that the exception came from; None without an answer."""
    return next((answer.status_code for answer in _answers(error)), None)


def is_program_unknown(error: Exception) -> bool:
    """Whether a submit was refused because the service does not have the named program.

    The client raises RuntimeProgramNotFound for every 404, even one about a session, a device or a gateway.
    """
    if not isinstance(error, RuntimeProgramNotFound):
        return False
    words = " ".join(f"{_document(answer)}" for answer in _answers(error)) or str(error)
    return re.search(r"program", words, re.IGNORECASE) is not None


def _kind_of_read(error: Exception) -> FaultKind:
    match error:
        case RuntimeJobMaxTimeoutError() | RuntimeInvalidStateError() | RuntimeJobNotFound():
            return FaultKind.PERMANENT
        case RuntimeJobFailureError():
            return FaultKind.TRANSIENT if job_code(str(error)) in SYSTEM_CODES else FaultKind.PERMANENT
        case UsageExhaustedError() | IBMInputValueError():
            return FaultKind.PERMANENT
    if (token_error := _find_token_error(error)) is not None:
        return _kind_of_token(token_error)
    status = status_of(error)
    return (
        _kind_of_status(status, Doing.READ) if status is not None and status >= 400 else FaultKind.TRANSIENT
    )


def _kind_of_submit(error: Exception, exchange: Exchange | None) -> FaultKind:
    """Decides by whether the job's POST was sent, and by its answer.

    A read that failed before or after the POST says nothing about the job.
    """
    if exchange is not None and not exchange.posted:
        return _kind_of_read(error)
    status = exchange.status if exchange is not None else status_of(error)
    if status is None:
        return FaultKind.TRANSIENT if _never_connected(error) else FaultKind.AMBIGUOUS
    if status < 400:
        return FaultKind.AMBIGUOUS  # accepted, but the answer was not understood
    if status == 404 and not is_program_unknown(error):
        return FaultKind.TRANSIENT  # the session or route is not known yet, or no longer
    return _kind_of_status(status, Doing.SUBMIT)


def _kind_of_status(status: int, doing: Doing) -> FaultKind:
    if status in NOT_ACCEPTED or status in TRY_LATER:
        return FaultKind.TRANSIENT
    if status >= 500:
        return FaultKind.AMBIGUOUS if doing is Doing.SUBMIT else FaultKind.TRANSIENT
    return FaultKind.PERMANENT


def _kind_of_token(error: TokenError) -> FaultKind:
    refused = error.status is not None and error.status < 500 and error.status not in TRY_LATER
    return FaultKind.PERMANENT if refused else FaultKind.TRANSIENT


def job_code(text: str) -> int | None:
    """IBM's error code in the text of a failed job."""
    match = re.search(r"[Ee]rror code[: ]+(\d{3,5})", text)
    return int(match[1]) if match else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and its causes, including those hidden by `raise … from None`."""
    visited: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        link = waiting.pop()
        if link is None or id(link) in visited:
            continue
        visited.add(id(link))
        yield link
        inner = [argument for argument in link.args if isinstance(argument, BaseException)]
        waiting += [*inner, getattr(link, "reason", None), link.__context__, link.__cause__]
        waiting = [cause for cause in waiting if cause is None or isinstance(cause, BaseException)]


def _answers(error: BaseException) -> Iterator[Response]:
    for link in _chain(error):
        if isinstance(link, RequestException) and link.response is not None:
            yield link.response
        if isinstance(link, ApiException) and link.http_response is not None:
            yield link.http_response


def _find_token_error(error: BaseException) -> TokenError | None:
    return next((link for link in _chain(error) if isinstance(link, TokenError)), None)


def _retry_after_s(error: BaseException) -> float:
    token_error = _find_token_error(error)
    if token_error is not None:
        return token_error.retry_after_s
    return max((retry_after_s(answer) for answer in _answers(error)), default=0.0)


def _never_connected(error: BaseException) -> bool:
    unconnected = (ConnectTimeout, NewConnectionError, ConnectTimeoutError, NameResolutionError)
    return any(isinstance(link, unconnected) for link in _chain(error))


def _document(answer: Response) -> object:
    try:
        return answer.json()
    except (ValueError, RecursionError):
        return ""


def _text(error: Exception) -> str:
    """IBM's message, without the address that its client adds."""
    token_error = _find_token_error(error)
    if token_error is not None:
        return str(token_error)
    if isinstance(error, InvalidAccountError) and isinstance(error.__cause__, Exception):
        # The client reports every failure here as a wrong key, even that of an unavailable service.
        return f"the account's instances cannot be listed: {describe(error.__cause__)}"
    for answer in _answers(error):
        match _document(answer):
            case {"errors": [{"message": message, "code": code}, *_]}:
                return f"{answer.status_code} {message} (code {code})"
    retry_error = next((link for link in _chain(error) if isinstance(link, MaxRetryError)), None)
    if retry_error is not None and retry_error.reason:
        return str(retry_error.reason)
    return describe(error).strip("'\"")


def _advice(error: Exception) -> str:
    token_error = _find_token_error(error)
    match status_of(error) if token_error is None else token_error.status:
        case 400 if token_error is not None or isinstance(error, InvalidAccountError):
            return "the key was refused; check quantum.credentials_file: "
        case 401:
            return "the key was refused; check quantum.credentials_file: "
        case 403:
            return "the account may not do this; check quantum.instance and its plan: "
        case _:
            return ""
