"""The edge of a vendor's module: whatever is raised behind it leaves it as a ProviderError.

A vendor's client raises what it likes, and on an answer of the wrong shape a TypeError from deep inside.
Nothing of that may reach the loop that waits for a paid job, so no list of exceptions is kept here.
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
"""About 30 years: a length beyond it is a mistake of the vendor's, and its nanoseconds would still fit."""
MOST = 10_000_000
"""Of qubits, shots and circuits: more is a mistake of the vendor's."""


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
    """Raises what `translate` makes of any exception; ours pass as they are."""
    try:
        yield
    except ShotclockError:
        raise
    except Exception as error:  # noqa: BLE001 - see the module's docstring
        raise translate(error) from None
    except BaseException as error:
        # A panic of a client written in Rust is not an Exception, and would end the process.
        if type(error).__name__ != "PanicException":
            raise
        raise translate(RuntimeError(f"the client panicked: {error}")) from None


def describe(error: Exception) -> str:
    """An exception's own words; a bare TypeError or KeyError is of an answer that is not understood."""
    words = " ".join(str(error).split())
    if isinstance(error, NOT_UNDERSTOOD):
        return f"the answer is not understood ({type(error).__name__}: {words})"
    return words or type(error).__name__


def seconds(value: object) -> float | None:
    """A length as the vendor gives it; None for anything but a finite number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        found = float(value)
    except (OverflowError, ValueError):
        return None
    return found if math.isfinite(found) and 0.0 <= found <= LONGEST_S else None


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def count_of(document: Mapping[str, Any], key: str, default: int | None = None) -> int:
    """A whole number of at least 1; null is as good as missing. Raises ProviderError(PERMANENT)."""
    value = default if document.get(key) is None else document[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST:
        raise _odd(key, "a whole number of at least 1", value)
    return value


def microseconds_of(document: Mapping[str, Any], key: str, default: float) -> float:
    """A length of microseconds, in seconds; null is as good as missing. Raises ProviderError(PERMANENT)."""
    value = default if document.get(key) is None else document[key]
    found = seconds(value)
    if found is None:
        raise _odd(key, "a number of microseconds", value)
    return found * 1e-6


def _odd(key: str, expected: str, got: object) -> ProviderError:
    return ProviderError(
        FaultKind.PERMANENT,
        f"the device's configuration: {key} must be {expected} (got {str(got)[:40]!r}); "
        f"choose another with quantum.backend, or report it to the vendor",
    )
