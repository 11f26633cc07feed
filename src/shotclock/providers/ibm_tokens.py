"""Tokens of IBM Cloud's identity service: a failed token request fails only the call that made it.

After one failed exchange, IBM's manager silently delays every request by up to a minute and then sends the
key instead of a token. Here each request that needs a token makes the exchange, one at a time; requests that
waited for a failed exchange share its error; and while the old token is valid, a failed refresh has no
effect.
"""

from __future__ import annotations

import threading

from ibm_cloud_sdk_core import ApiException  # type: ignore[import-untyped]
from ibm_cloud_sdk_core.token_managers import iam_token_manager as iam  # type: ignore[import-untyped]
from requests import PreparedRequest
from requests.auth import AuthBase

from shotclock.providers.ibm_exchange import retry_after_s

TIMEOUT_S = (5.0, 10.0)
"""To connect, and between two bytes of the answer, because a job's request waits for the token."""


STORED = ("access_token", "token_info", "expire_time", "refresh_time")


class TokenError(Exception):
    """No token could be obtained; status: of the identity service's answer, None without an answer."""

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
        """A valid token. Raises TokenError."""
        failures = self._failures
        if not self._is_token_expired():
            self._refresh()
            return str(self.access_token)
        with self._turn:
            if self._is_token_expired():
                if self._failures != failures and self._last is not None:
                    raise TokenError(str(self._last), self._last.status, self._last.retry_after_s)
                self._exchange()
        return str(self.access_token)

    def expire(self) -> None:
        """Discards a token that the service refused, so that the next request obtains another."""
        self.expire_time = 0

    def _refresh(self) -> None:
        """Renews a valid token if that is due and no other thread is renewing it."""
        if not self._token_needs_refresh() or not self._turn.acquire(blocking=False):
            return
        try:
            self._exchange()
        except TokenError:
            pass  # the old token is valid; `_token_needs_refresh` requests another refresh in a minute
        finally:
            self._turn.release()

    def _exchange(self) -> None:
        before = {name: getattr(self, name) for name in STORED}
        try:
            self._save_token_info(self.request_token())
        except Exception as error:
            # IBM's manager stores a token before it decodes it: restore the old one if that fails.
            for name, value in before.items():
                setattr(self, name, value)
            self._last = _explain_failure(error)
            self._failures += 1
            raise self._last from error


def _explain_failure(error: Exception) -> TokenError:
    if not isinstance(error, ApiException):
        return TokenError(f"no token could be obtained: {type(error).__name__}", None)
    answer = error.http_response
    wait_s = retry_after_s(answer) if answer is not None else 0.0
    return TokenError(f"no token could be obtained: {error.message}", error.status_code, wait_s)


class TokenAuth(AuthBase):
    """Signs requests with a token; the client's own class sends the key if it has no token."""

    def __init__(self, crn: str, tokens: PromptTokens) -> None:
        self.crn = crn
        self.tm = tokens

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Adds the headers. Raises TokenError."""
        request.headers["Service-CRN"] = self.crn
        request.headers["Authorization"] = f"Bearer {self.tm.get_token()}"
        return request
