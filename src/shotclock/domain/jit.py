"""Compilation by numba; its cache on disk is used where it can be, and done without where it cannot."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher

F = TypeVar("F", bound=Callable[..., Any])
log = logging.getLogger(__name__)

_UNREADABLE = (OSError, EOFError, pickle.UnpicklingError, AttributeError, ImportError, IndexError, ValueError)
_warned = False


def jit(function: F) -> Dispatcher[F]:
    """The function compiled at its first call; it lets go of the interpreter while it runs.

    A cache that cannot be read or written, because of its owner, a read-only or a full disk, costs the
    compilation and nothing else: numba alone would raise, at import or in the middle of a call.
    """
    dispatcher: Dispatcher[F] = njit(function, nogil=True)
    cache: Callable[[F], object] = _OptionalCache
    try:
        setattr(dispatcher, "_cache", cache(function))  # noqa: B010 - numba's types do not tell of it
    except (RuntimeError, OSError) as error:  # numba found no folder it can write
        _warn(error)
    return dispatcher


class _OptionalCache(FunctionCache):
    """Numba's own, whose errors are logged and not raised."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except _UNREADABLE as error:
            _warn(error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except OSError as error:
            _warn(error)


def _warn(error: Exception) -> None:
    """Once: each function has the same to say."""
    global _warned  # noqa: PLW0603
    if _warned:
        return
    _warned = True
    log.warning(
        "the cache of compiled functions cannot be used (%s): each process compiles them again; "
        "NUMBA_CACHE_DIR names another folder",
        error,
    )
