"""When to retry a provider: in one layer only, a limited number of times, jittered, before the deadline."""

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
    """How long to wait before attempt + 1, nanoseconds; None: do not retry.

    U(0,1)·min(10 s, 100 ms·2^(i−1)) (gRPC A6), added to the vendor's `Retry-After`: with the jitter on top,
    clients that were refused together do not return together.
    """
    # An ambiguous submit may have created a paid job, so only a transient fault is retried.
    if error.kind is not FaultKind.TRANSIENT or attempt >= attempts:
        return None
    jitter_s = rng.random() * min(CAP_S, BASE_S * 2 ** (attempt - 1))
    wait = round((error.retry_after_s + jitter_s) * NS_PER_S)
    return wait if wait < remaining_ns else None


class RetryBudget:
    """Limits retries to a share of the requests, so that retries never make an outage worse.

    A retry takes one token; each first attempt that succeeds returns per_success (MongoDB, Finagle). The
    budget starts full: attempts ≤ (1 + per_success) × requests + capacity, and the capacity is the burst.
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
        """Takes one token if one is left; without a token the request is not retried."""
        if self._parts < PARTS:
            return False
        self._parts -= PARTS
        return True
