"""Tokens of IBM Cloud's identity service: a failed request fails the call that made it, and no other.

IBM's own manager lets every request wait up to a minute after one failed exchange, and then sends the key
in place of a token, both without a word. Here whoever needs a token asks for it, one at a time; those who
waited for a request that failed share its error; and while the old token holds, a refresh that fails
changes nothing.
"""

from __future__ import annotations

import threading

from ibm_cloud_sdk_core import ApiException  # type: ignore[import-untyped]
from ibm_cloud_sdk_core.token_managers import iam_token_manager as iam  # type: ignore[import-untyped]
from requests import PreparedRequest
from requests.auth import AuthBase

from shotclock.providers.ibm_exchange import retry_after_s

TIMEOUT_S = (5.0, 10.0)
"""To connect, and between two bytes of the answer: a request of a job waits for it."""


STORED = ("access_token", "token_info", "expire_time", "refresh_time")


class TokenError(Exception):
    """No token could be had; status: of the identity service's answer, None where none came."""

    def __init__(self, message: str, status: int | None, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class PromptTokens(iam.IAMTokenManager):  # type: ignore[misc]
    """IBM's manager without its pause after a failed request."""

    def __init__(self, like: iam.IAMTokenManager) -> None:
        super().__init__(
            like.apikey,
            url=like.url,
            disable_ssl_verification=like.disable_ssl_verification,
            proxies=like.proxies,
        )
        self.http_config = {"timeout": TIMEOUT_S}
        self._turn = threading.Lock()
        self._failures = 0
        self._last: TokenError | None = None

    def get_token(self) -> str:
        """A token that holds. Raises TokenError."""
        seen = self._failures
        if not self._is_token_expired():
            self._refresh()
            return str(self.access_token)
        with self._turn:
            if self._is_token_expired():
                if self._failures != seen and self._last is not None:
                    raise TokenError(str(self._last), self._last.status, self._last.retry_after_s)
                self._exchange()
        return str(self.access_token)

    def expire(self) -> None:
        """The service refuses the token: the next request asks for another."""
        self.expire_time = 0

    def _refresh(self) -> None:
        """Renews a token that still holds, when it is due and nobody else does."""
        if not self._token_needs_refresh() or not self._turn.acquire(blocking=False):
            return
        try:
            self._exchange()
        except TokenError:
            pass  # the old one holds; `_token_needs_refresh` asks again in a minute
        finally:
            self._turn.release()

    def _exchange(self) -> None:
        kept = {name: getattr(self, name) for name in STORED}
        try:
            self._save_token_info(self.request_token())
        except Exception as error:
            # A token that cannot be read was stored before it was decoded.
            for name, value in kept.items():
                setattr(self, name, value)
            self._last = _token_error(error)
            self._failures += 1
            raise self._last from error


def _token_error(error: Exception) -> TokenError:
    if not isinstance(error, ApiException):
        return TokenError(f"no token could be had: {type(error).__name__}", None)
    answer = error.http_response
    wait_s = retry_after_s(answer) if answer is not None else 0.0
    return TokenError(f"no token could be had: {error.message}", error.status_code, wait_s)


class TokenAuth(AuthBase):
    """Signs requests with a token; in place of the client's own, which sends the key where it has none."""

    def __init__(self, crn: str, tokens: PromptTokens) -> None:
        self.crn = crn
        self.tm = tokens

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Adds the headers. Raises TokenError."""
        request.headers["Service-CRN"] = self.crn
        request.headers["Authorization"] = f"Bearer {self.tm.get_token()}"
        return request
