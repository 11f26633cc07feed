"""Awaits a provider's answers; whatever a provider raises becomes a ProviderError.

A provider may be a user's code. A bug in it must not leave a paid job's record open or a call without its
fallback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from shotclock.domain.errors import FaultKind, ProviderError, WorkerError

T = TypeVar("T")


async def answer_of(provider: str, what: str, answer: Awaitable[T]) -> T:
    """The answer to a request, `what` for example "submit". Raises ProviderError, WorkerError.

    Any other exception is reported to the event loop's exception handler. Whether the request took effect is
    then unknown, so the fault is AMBIGUOUS, like a lost answer.
    """
    try:
        return await answer
    except (ProviderError, WorkerError):
        raise
    except Exception as error:
        asyncio.get_running_loop().call_exception_handler(
            {"message": f"{provider}: {what} raised an unexpected exception", "exception": error}
        )
        words = " ".join(f"{type(error).__name__}: {error}".split())
        raise ProviderError(FaultKind.AMBIGUOUS, f"{provider}: {what} raised {words}") from error
