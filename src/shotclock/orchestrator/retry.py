"""When to try a provider again: one layer, at most so many attempts, jittered, never past the deadline."""

from __future__ import annotations

import random

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import FaultKind, ProviderError

BASE_S = 0.1
CAP_S = 10.0


def backoff_ns(
    error: ProviderError, attempt: int, attempts: int, remaining_ns: int, rng: random.Random
) -> int | None:
    """How long to wait before attempt + 1, nanoseconds; None gives up.

    U(0,1)·min(10 s, 100 ms·2^(i−1)) (gRPC A6). An ambiguous submit is never repeated.
    """
    if error.kind is not FaultKind.TRANSIENT or attempt >= attempts:
        return None
    wait = round(rng.random() * min(CAP_S, BASE_S * 2 ** (attempt - 1)) * NS_PER_S)
    return wait if wait < remaining_ns else None
