"""How many calls fit into memory: beyond that, a call must wait or be left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

FLOAT64_BYTES = 8
HBM, PINNED, RAM = "HBM", "pinned memory", "host memory"
UNLIMITED = 1 << 62
"""Calls, where no memory is known to bound them."""

OnFull = Literal["block", "refuse"]
"""Wait until an earlier call has ended; or make no call, and count it."""


@dataclass(frozen=True, slots=True)
class CallSize:
    """What one call holds from its proposal until its answer is applied, bytes by memory.

    candidates: vectors that its answer is chosen from
    needs: by `HBM`, `PINNED` and `RAM`
    """

    candidates: int
    needs: Mapping[str, int]

    @classmethod
    def of(cls, n: int, shots: int) -> CallSize:
        """Of n variables and so many shots.

        HBM: the packed float64 coefficients, n (n + 1), and the candidates as float64 vectors; the pinned
        buffer of the coefficients' transfer; host memory: the coefficients, and each shot's bits and energy.
        """
        coefficients = FLOAT64_BYTES * n * (n + 1)
        return cls(
            shots,
            {
                HBM: coefficients + shots * FLOAT64_BYTES * n,
                PINNED: coefficients,
                RAM: coefficients + shots * (n + FLOAT64_BYTES),
            },
        )


@dataclass(frozen=True, slots=True)
class BlockingPoint:
    """From here on a call must wait for an earlier one to end.

    calls: that fit at once
    candidates: candidate vectors of these calls
    memory: which ends first
    allowed_bytes: of it, for all calls
    call_bytes: of it, for one call
    """

    calls: int
    candidates: int
    memory: str
    allowed_bytes: int
    call_bytes: int

    def __str__(self) -> str:
        allowed = f"{_round(self.allowed_bytes / 2**20)} MiB of {self.memory}"
        return (
            f"{self.calls:,} calls with {self.candidates:,} candidate vectors fit into {allowed}, "
            f"{self.call_bytes:,} bytes a call"
        )


def _round(amount: float) -> str:
    """Four digits, and never in powers of ten."""
    return f"{amount:,.0f}" if amount >= 1000 else f"{amount:.4g}"


def find_blocking_point(size: CallSize, allowed: Mapping[str, int]) -> BlockingPoint | None:
    """Where the first memory ends; None where none is known.

    allowed: bytes that calls may take, by memory; what is not known bounds nothing.
    """
    points = [
        BlockingPoint(
            calls := max(0, allowed[memory]) // need, calls * size.candidates, memory, allowed[memory], need
        )
        for memory, need in size.needs.items()
        if memory in allowed
    ]
    return min(points, key=lambda point: point.calls, default=None)


def find_no_point() -> BlockingPoint | None:
    """Where memory bounds nothing."""


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """The bound on calls in flight.

    find_point: the present one, at once
    on_full: what a due call does then
    """

    find_point: Callable[[], BlockingPoint | None] = find_no_point
    on_full: OnFull = "block"

    @property
    def calls(self) -> int:
        """How many fit at present."""
        point = self.find_point()
        return UNLIMITED if point is None else point.calls


NO_LIMIT = MemoryLimit()
