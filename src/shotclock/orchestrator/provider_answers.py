"""What a provider answers: whatever it raises leaves here as a ProviderError.

A provider may be somebody else's code, and a bug in it must neither leave a paid job's record open nor a
call without its fallback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from shotclock.domain.errors import FaultKind, ProviderError

T = TypeVar("T")


async def answer_of(provider: str, what: str, answer: Awaitable[T]) -> T:
    """The answer to a request of this kind, "submit" for example. Raises ProviderError.

    What no provider may raise is reported to the event loop's exception handler. It leaves unknown whether
    anything took effect, so it is AMBIGUOUS, as a lost answer is.
    """
    try:
        return await answer
    except ProviderError:
        raise
    except Exception as error:
        asyncio.get_running_loop().call_exception_handler(
            {"message": f"{provider}: {what} raised what a provider may not", "exception": error}
        )
        words = " ".join(f"{type(error).__name__}: {error}".split())
        raise ProviderError(FaultKind.AMBIGUOUS, f"{provider}: {what} raised {words}") from error
