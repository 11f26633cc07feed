"""Several subproblems that travel in one request; each is a call with an outcome by its own deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from shotclock.domain.errors import SubproblemError
from shotclock.domain.outcome import Outcome
from shotclock.domain.subproblem import Subproblem

MOST_SUBPROBLEMS = 64
MOST_COEFFICIENT_BYTES = 4 * 1024 * 1024
"""The most of one batch: subproblems; bytes of coefficients as they travel, 4n² + 4n of n variables."""

DeliverOutcome: TypeAlias = Callable[[int, Outcome], None]
"""Takes the outcome of the subproblem of this index; they count through the batch from 0."""


@dataclass(frozen=True, slots=True, eq=False)
class SubproblemBatch:
    """Subproblems of any sizes, each with its own budget, priority and id.

    Raises SubproblemError where it has none, or more than a request may have.
    """

    subproblems: tuple[Subproblem, ...]

    def __post_init__(self) -> None:
        check_count(len(self.subproblems))
        if self.size > MOST_COEFFICIENT_BYTES:
            raise SubproblemError(
                "batch",
                f"must have at most {MOST_COEFFICIENT_BYTES:,} bytes of coefficients (got {self.size:,}); "
                f"send several batches",
            )

    @property
    def size(self) -> int:
        """Bytes of all coefficients as they travel: the upper triangles and the linear terms."""
        return sum(count_coefficient_bytes(subproblem.n) for subproblem in self.subproblems)

    @property
    def budget_ns(self) -> int:
        """Until the last of the deadlines, nanoseconds."""
        return max(subproblem.budget_ns for subproblem in self.subproblems)


def count_coefficient_bytes(n: int) -> int:
    """Of a subproblem of n variables as it travels: the upper triangle and the linear terms."""
    return 4 * n * (n + 1)


def check_count(count: int) -> None:
    """Raises SubproblemError unless a batch may have so many subproblems."""
    if not 1 <= count <= MOST_SUBPROBLEMS:
        raise SubproblemError(
            "batch", f"must have 1 to {MOST_SUBPROBLEMS} subproblems (got {count}); send several batches"
        )


async def solve_each(
    solve: Callable[[Subproblem], Awaitable[Outcome]], batch: SubproblemBatch, deliver: DeliverOutcome
) -> None:
    """Solves all at the same time, each as a call; the first exception cancels the others."""

    async def solve_one(index: int, subproblem: Subproblem) -> None:
        deliver(index, await solve(subproblem))

    calls = [asyncio.ensure_future(solve_one(*numbered)) for numbered in enumerate(batch.subproblems)]
    try:
        await asyncio.gather(*calls)
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
