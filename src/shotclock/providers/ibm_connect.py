"""Connecting to IBM's cloud: the account's key, its client with the silent retries off, one back end.

The client retries on its own for up to 15 s without a word, and reads with no limit at all. Both end
where its HTTP session is given an adapter that tries once: retries belong to the pipeline, which knows
the deadline. That session is a private attribute; `connect` fails loudly where it has moved.
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
from shotclock.providers.ibm_cloud import ConfigurationError, IbmCloud, Service
from shotclock.providers.ibm_exchange import note_answered, note_sent
from shotclock.providers.ibm_faults import Doing, translate
from shotclock.providers.ibm_tokens import PromptTokens, TokenAuth

CONNECT_LIMIT_S = 5.0
READ_LIMIT_S = 30.0
CONNECTIONS = 16
UNAUTHORIZED = 401


class OneTry(HTTPAdapter):
    """Sends a request once and waits for its answer no longer than READ_LIMIT_S."""

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
        """See `HTTPAdapter.send`; the caller's own timeout gives way."""
        del timeout
        note_sent(request)
        answer = super().send(request, stream, (CONNECT_LIMIT_S, READ_LIMIT_S), verify, cert, proxies)
        note_answered(request, answer)
        if answer.status_code == UNAUTHORIZED and self._tokens is not None:
            self._tokens.expire()  # by the service's clock it no longer holds
        return answer


def connect(credentials: Credentials, backend: str) -> IbmCloud:
    """The named back end of the account, "" is the least busy one. Blocking, seconds over a network.

    Raises SettingsError where there is no key or no such back end, ProviderError where the account
    cannot be reached, MachineError on a client whose session cannot be made to try once.
    """
    with _quiet():
        return _connect(credentials, backend)


def _connect(credentials: Credentials, backend: str) -> IbmCloud:
    secret = credentials.token
    with translate_errors(lambda error: translate(error, Doing.READ, secret)):
        try:
            service = Service(channel="ibm_quantum_platform", **_client_arguments(credentials))
        except AccountNotFoundError:
            raise SettingsError(
                "quantum.credentials_file: no key is given and IBM's client has none saved; name a file that "
                "holds an IBM Cloud API key, readable by you alone"
            ) from None
    secret = _in_use(service, secret)
    with translate_errors(lambda error: translate(error, Doing.READ, secret)):
        for session in _one_try(service):
            _check_key(session)
        service.account_usage()  # says why where the client only warns of an "invalid instance"
        try:
            found = (
                service.backend(backend) if backend else service.least_busy(operational=True, simulator=False)
            )
        except QiskitBackendNotFoundError:
            _raise_if_unusable(service, backend)
            raise SettingsError(f"quantum.backend: {_no_backend(service, backend)}") from None
        service.chosen = found
        return IbmCloud(service, found, secret)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the client's own warnings: what is wrong with a key or an instance is raised, in one line.

    Whoever has set a level that tells more keeps it.
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
    """What is passed to the client; given a key, it does not read its variables for the rest."""
    token = credentials.token.reveal()
    if not token:
        return {"instance": credentials.instance} if credentials.instance else {}
    values = {
        "token": token,
        "instance": credentials.instance or os.environ.get("QISKIT_IBM_INSTANCE", ""),
        "url": credentials.url or os.environ.get("QISKIT_IBM_URL", ""),
    }
    return {name: value for name, value in values.items() if value}


def _in_use(service: Service, given: Secret) -> Secret:
    """The key that the client uses, wherever it has it from, so that it can be redacted."""
    account = service.active_account() or {}
    return Secret(str(account.get("token") or given.reveal()))


def _one_try(service: Service) -> tuple[requests.Session, ...]:
    """Switches the silent retries off; the client's HTTP sessions."""
    known = getattr(service, "_api_clients", {}).values()
    clients: list[Any] = [*known, getattr(service, "_active_api_client", None)]
    found = [getattr(client, "_session", None) for client in clients]
    sessions = tuple(session for session in found if isinstance(session, requests.Session))
    if len(sessions) < len(clients):
        raise MachineError(
            "qiskit-ibm-runtime: its HTTP session is not where it was in 0.51, so its silent retries "
            "cannot be switched off; install a version that shotclock's constraints name"
        )
    for session in sessions:
        tokens = _prompt_tokens(session)
        for prefix in ("http://", "https://"):
            session.mount(prefix, OneTry(tokens))
    return sessions


def _prompt_tokens(session: requests.Session) -> PromptTokens | None:
    """Puts our own tokens in place of the client's; None where it signs its requests in another way."""
    auth = session.auth
    manager = getattr(auth, "tm", None)
    if not isinstance(manager, iam.IAMTokenManager):
        return None
    tokens = manager if isinstance(manager, PromptTokens) else PromptTokens(manager)
    session.auth = TokenAuth(str(getattr(auth, "crn", "")), tokens)
    return tokens


def _check_key(session: requests.Session) -> None:
    """Exchanges the key for a token, before anything else is asked. Raises TokenError."""
    if isinstance(session.auth, TokenAuth):
        session.auth.tm.get_token()


def _raise_if_unusable(service: Service, wanted: str) -> None:
    """A back end whose configuration cannot be read is not one that the account does not have."""
    for name, cause in service.unusable.items():
        if wanted in {"", name}:
            raise ConfigurationError(f"the configuration of {name} cannot be read") from cause


def _no_backend(service: Service, wanted: str) -> str:
    try:
        names = ", ".join(sorted(one.name for one in service.backends())) or "none"
    except Exception:  # noqa: BLE001 - the account's devices are named where they can be, and no more
        names = "unknown"
    return f"the account has no back end {wanted or 'that is operational'!r}; it has: {names}"
