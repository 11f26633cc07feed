"""When to try a provider again: one layer, at most so many attempts, jittered, never past the deadline."""

from __future__ import annotations

import random

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import FaultKind, ProviderError

BASE_S = 0.1
CAP_S = 10.0
PARTS = 1000
"""A token is counted in thousandths, as gRPC does: ten deposits of 0.1 are exactly one retry."""


def backoff_ns(
    error: ProviderError, attempt: int, attempts: int, remaining_ns: int, rng: random.Random
) -> int | None:
    """How long to wait before attempt + 1, nanoseconds; None gives up.

    U(0,1)·min(10 s, 100 ms·2^(i−1)) (gRPC A6), after what the vendor's `Retry-After` asks for: the jitter
    stays on top of it, so that everybody who was turned away at once does not come back at once. An
    ambiguous submit is never repeated.
    """
    if error.kind is not FaultKind.TRANSIENT or attempt >= attempts:
        return None
    jitter_s = rng.random() * min(CAP_S, BASE_S * 2 ** (attempt - 1))
    wait = round((error.retry_after_s + jitter_s) * NS_PER_S)
    return wait if wait < remaining_ns else None


class RetryBudget:
    """Retries a provider may cost beyond its requests, so that retries never make an outage worse.

    One token a retry, per_success back for each first attempt that succeeds (MongoDB, Finagle). It
    starts full: attempts ≤ (1 + per_success) × requests + capacity, and the capacity is the burst.
    """

    def __init__(self, capacity: float = 10.0, per_success: float = 0.1) -> None:
        self._capacity = round(capacity * PARTS)
        self._per_success = round(per_success * PARTS)
        self._parts = self._capacity

    @property
    def tokens(self) -> float:
        """Retries left."""
        return self._parts / PARTS

    def record_first_success(self) -> None:
        """A request succeeded at its first attempt."""
        self._parts = min(self._capacity, self._parts + self._per_success)

    def take(self) -> bool:
        """Spends one token if there is one; without it the request is not tried again."""
        if self._parts < PARTS:
            return False
        self._parts -= PARTS
        return True
