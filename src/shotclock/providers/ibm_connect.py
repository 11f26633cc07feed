"""Connects to IBM's cloud: the account's key, its client without silent retries, one back end.

The client retries silently for up to 15 s, and reads without a time limit. An adapter on its HTTP session
that tries once prevents both: retries belong to the pipeline, which knows the deadline. That session is a
private attribute; `connect` raises if it has moved.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

import requests
from ibm_cloud_sdk_core.token_managers import iam_token_manager as iam  # type: ignore[import-untyped]
from qiskit.providers import QiskitBackendNotFoundError
from qiskit_ibm_runtime.accounts.exceptions import AccountNotFoundError
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from shotclock.domain.errors import MachineError, SettingsError
from shotclock.providers.credentials import Credentials, Secret
from shotclock.providers.edge import translate_errors
from shotclock.providers.ibm_cloud import ConfigurationError, IbmCloud, RuntimeService
from shotclock.providers.ibm_exchange import note_answered, note_sent
from shotclock.providers.ibm_faults import Doing, translate
from shotclock.providers.ibm_tokens import PromptTokens, TokenAuth

CONNECT_LIMIT_S = 5.0
READ_LIMIT_S = 30.0
CONNECTIONS = 16
UNAUTHORIZED = 401


class OneTry(HTTPAdapter):
    """Sends a request once and waits for its answer at most READ_LIMIT_S."""

    def __init__(self, tokens: PromptTokens | None = None) -> None:
        self._tokens = tokens
        super().__init__(max_retries=0, pool_connections=2, pool_maxsize=CONNECTIONS)

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> Response:
        """See `HTTPAdapter.send`; the caller's timeout is replaced."""
        del timeout
        note_sent(request)
        answer = super().send(request, stream, (CONNECT_LIMIT_S, READ_LIMIT_S), verify, cert, proxies)
        note_answered(request, answer)
        if answer.status_code == UNAUTHORIZED and self._tokens is not None:
            self._tokens.expire()  # it has expired by the service's clock
        return answer


def connect(credentials: Credentials, backend: str) -> IbmCloud:
    """The named back end of the account; "" is the least busy one. Blocking, takes seconds over a network.

    Raises SettingsError if there is no key or no such back end, ProviderError if the account cannot be
    reached, MachineError if the client's silent retries cannot be disabled.
    """
    with _quiet():
        return _connect(credentials, backend)


def _connect(credentials: Credentials, backend: str) -> IbmCloud:
    secret = credentials.token
    with translate_errors(lambda error: translate(error, Doing.READ, secret)):
        try:
            service = RuntimeService(channel="ibm_quantum_platform", **_client_arguments(credentials))
        except AccountNotFoundError:
            raise SettingsError(
                "quantum.credentials_file: not set, and IBM's client has no saved key; name a file with an "
                "IBM Cloud API key that only you can read"
            ) from None
    secret = _find_key(service, secret)
    with translate_errors(lambda error: translate(error, Doing.READ, secret)):
        for session in _disable_retries(service):
            _check_key(session)
        service.account_usage()  # raises the reason where the client only warns of an "invalid instance"
        try:
            chosen = (
                service.backend(backend) if backend else service.least_busy(operational=True, simulator=False)
            )
        except QiskitBackendNotFoundError:
            _raise_if_unusable(service, backend)
            raise SettingsError(f"quantum.backend: {_explain_no_backend(service, backend)}") from None
        service.chosen = chosen
        return IbmCloud(service, chosen, secret)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the client's warnings: a wrong key or instance is raised as an error, in one line.

    A more verbose level set by the user is kept.
    """
    logger = logging.getLogger("qiskit_ibm_runtime")
    level = logger.level
    if level in {logging.NOTSET, logging.WARNING}:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _client_arguments(credentials: Credentials) -> dict[str, str]:
    """The client's arguments. Given a key, the client no longer reads its variables, so this does."""
    token = credentials.token.reveal()
    if not token:
        return {"instance": credentials.instance} if credentials.instance else {}
    values = {
        "token": token,
        "instance": credentials.instance or os.environ.get("QISKIT_IBM_INSTANCE", ""),
        "url": credentials.url or os.environ.get("QISKIT_IBM_URL", ""),
    }
    return {name: value for name, value in values.items() if value}


def _find_key(service: RuntimeService, default: Secret) -> Secret:
    """The key that the client uses, from any source, so that it can be redacted."""
    account = service.active_account() or {}
    return Secret(str(account.get("token") or default.reveal()))


def _disable_retries(service: RuntimeService) -> tuple[requests.Session, ...]:
    """Disables the silent retries of the client's HTTP sessions, and returns the sessions."""
    api_clients = getattr(service, "_api_clients", {}).values()
    clients: list[Any] = [*api_clients, getattr(service, "_active_api_client", None)]
    candidates = [getattr(client, "_session", None) for client in clients]
    sessions = tuple(session for session in candidates if isinstance(session, requests.Session))
    if len(sessions) < len(clients):
        raise MachineError(
            "qiskit-ibm-runtime: its HTTP session is not where it was in 0.51, so its silent retries "
            "cannot be disabled; install a version that shotclock's constraints name"
        )
    for session in sessions:
        tokens = _prompt_tokens(session)
        for prefix in ("http://", "https://"):
            session.mount(prefix, OneTry(tokens))
    return sessions


def _prompt_tokens(session: requests.Session) -> PromptTokens | None:
    """Replaces the client's tokens by ours; None if it signs its requests in another way."""
    auth = session.auth
    manager = getattr(auth, "tm", None)
    if not isinstance(manager, iam.IAMTokenManager):
        return None
    tokens = manager if isinstance(manager, PromptTokens) else PromptTokens(manager)
    session.auth = TokenAuth(str(getattr(auth, "crn", "")), tokens)
    return tokens


def _check_key(session: requests.Session) -> None:
    """Exchanges the key for a token before any other request. Raises TokenError."""
    if isinstance(session.auth, TokenAuth):
        session.auth.tm.get_token()


def _raise_if_unusable(service: RuntimeService, backend: str) -> None:
    """Raises ConfigurationError if the back end exists, but its configuration cannot be read."""
    for name, cause in service.unusable.items():
        if backend in {"", name}:
            raise ConfigurationError(f"the configuration of {name} cannot be read") from cause


def _explain_no_backend(service: RuntimeService, backend: str) -> str:
    try:
        names = ", ".join(sorted(device.name for device in service.backends())) or "none"
    except Exception:  # noqa: BLE001 - the list of devices only completes the message
        names = "unknown"
    return f"the account has no back end {backend or 'that is operational'!r}; it has: {names}"
