"""The edge of a vendor's module: translates every exception raised behind it into a ProviderError.

A vendor's client may raise anything, such as a TypeError on an answer of the wrong shape. None of it may
reach the loop that waits for a paid job, so all exceptions are translated, not a list of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from json import JSONDecodeError
from numbers import Real
from typing import Any

from shotclock.domain.errors import FaultKind, ProviderError, ShotclockError

LONGEST_S = 1e9
"""About 30 years: a longer duration is a vendor's error; in nanoseconds this still fits 64 bits."""
MOST = 10_000_000
"""Most qubits, shots and circuits: a larger number is a vendor's error."""


NOT_UNDERSTOOD = (
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    UnicodeError,
    JSONDecodeError,
)


@contextmanager
def translate_errors(translate: Callable[[Exception], ProviderError]) -> Iterator[None]:
    """Raises `translate(error)` for any exception; ours pass unchanged."""
    try:
        yield
    except ShotclockError:
        raise
    except Exception as error:  # noqa: BLE001 - see the module's docstring
        raise translate(error) from None
    except BaseException as error:
        # A panic in a client written in Rust is not an Exception, and would end the whole process.
        if type(error).__name__ != "PanicException":
            raise
        raise translate(RuntimeError(f"the client panicked: {error}")) from None


def describe(error: Exception) -> str:
    """The exception's message; a bare TypeError or KeyError means that the answer was not understood."""
    words = " ".join(str(error).split())
    if isinstance(error, NOT_UNDERSTOOD):
        return f"the answer was not understood ({type(error).__name__}: {words})"
    return words or type(error).__name__


def seconds(value: object) -> float | None:
    """A duration reported by a vendor; None for anything but a finite, non-negative number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) and 0.0 <= number <= LONGEST_S else None


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def count_of(document: Mapping[str, Any], key: str, default: int | None = None) -> int:
    """A whole number of at least 1; null counts as missing. Raises ProviderError(PERMANENT)."""
    value = default if document.get(key) is None else document[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST:
        raise _explain_invalid(key, "a whole number of at least 1", value)
    return value


def microseconds_of(document: Mapping[str, Any], key: str, default: float) -> float:
    """A duration in microseconds, as seconds; null counts as missing. Raises ProviderError(PERMANENT)."""
    value = default if document.get(key) is None else document[key]
    number = seconds(value)
    if number is None:
        raise _explain_invalid(key, "a number of microseconds", value)
    return number * 1e-6


def _explain_invalid(key: str, expected: str, value: object) -> ProviderError:
    return ProviderError(
        FaultKind.PERMANENT,
        f"the device's configuration: {key} must be {expected} (got {str(value)[:40]!r}); "
        f"choose another device with quantum.backend, or report it to the vendor",
    )
