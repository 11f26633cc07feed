"""Usage and price as IBM meters them, and an account of who paid for what. Pure.

Usage is the time the QPU is locked for a workload (IBM docs, "Workload usage"): a job's own in job and
batch mode; in a session the wall-clock time it is active, idle time included. A job that fails by the
system's fault costs nothing; one that its user cancels, or that runs too long, what it has consumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ExecutionMode = Literal["job", "batch", "session"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of time, seconds; `end_s` is not before `start_s`."""

    start_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end_s - self.start_s


def job_usage_s(locked: tuple[Interval, ...], *, system_fault: bool) -> float:
    """Usage of a job in job or batch mode, seconds: 0 where it never had the QPU or the system failed."""
    return 0.0 if system_fault else sum(interval.seconds for interval in locked)


def session_usage_s(active: tuple[Interval, ...]) -> float:
    """Usage of a session, seconds: all the time it was active, whatever its jobs did."""
    return sum(interval.seconds for interval in active)


@dataclass(frozen=True, slots=True)
class Charge:
    """A workload that was paid for: a job, or a session with everything in it."""

    workload: str
    mode: ExecutionMode
    seconds: float
    money: float
    tags: tuple[str, ...]


class Account:
    """Everything charged to the one instance, each workload at most once."""

    def __init__(self, price_per_s: float, usage_limit_s: float | None) -> None:
        self.price_per_s = price_per_s
        self.usage_limit_s = usage_limit_s
        self._charges: dict[str, Charge] = {}

    def charge(self, workload: str, mode: ExecutionMode, seconds: float, tags: tuple[str, ...]) -> None:
        """Charges a workload's final usage. A second time is the endpoint's own fault: ValueError."""
        if workload in self._charges:
            raise ValueError(f"{workload} is charged twice")
        self._charges[workload] = Charge(workload, mode, seconds, seconds * self.price_per_s, tags)

    @property
    def charges(self) -> tuple[Charge, ...]:
        """Every charge, in the order of booking."""
        return tuple(self._charges.values())

    @property
    def consumed_s(self) -> float:
        """Usage of everything charged, seconds."""
        return sum(charge.seconds for charge in self._charges.values())

    @property
    def money(self) -> float:
        """The price of everything charged."""
        return sum(charge.money for charge in self._charges.values())

    def tags_paid_twice(self) -> tuple[str, ...]:
        """Tags under which more than one workload was charged: what a repeated submit leaves behind."""
        seen: set[str] = set()
        twice: dict[str, None] = {}
        for charge in self._charges.values():
            for tag in set(charge.tags):
                if tag in seen:
                    twice[tag] = None
                seen.add(tag)
        return tuple(twice)
