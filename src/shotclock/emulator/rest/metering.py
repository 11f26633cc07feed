"""Usage and price as IBM meters them, and an account of all charges. Pure.

Usage is the time the QPU is locked for a workload (IBM docs, "Workload usage"): of each job in job and batch
mode; of a session the wall-clock time it is active, including idle time. A job that fails because of a
system error costs nothing; a job that its user cancels, or that runs too long, costs what it has used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ExecutionMode = Literal["job", "batch", "session"]


@dataclass(frozen=True, slots=True)
class UsageInterval:
    """A time interval, seconds; `end_s` is not before `start_s`."""

    start_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end_s - self.start_s


def job_usage_s(locked: tuple[UsageInterval, ...], *, system_fault: bool) -> float:
    """Usage of a job in job or batch mode, seconds: 0 if it never had the QPU or the system failed."""
    return 0.0 if system_fault else sum(interval.seconds for interval in locked)


def session_usage_s(active: tuple[UsageInterval, ...]) -> float:
    """Usage of a session, seconds: the whole time it was active, including idle time."""
    return sum(interval.seconds for interval in active)


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge for a workload: a job, or a session with all its jobs.

    workload: the job's or session's id
    mode: how it ran
    seconds: usage
    money: price of the usage
    tags: the job's tags
    """

    workload: str
    mode: ExecutionMode
    seconds: float
    money: float
    tags: tuple[str, ...]


class Account:
    """All charges to the instance, each workload at most once."""

    def __init__(self, price_per_s: float, usage_limit_s: float | None) -> None:
        self.price_per_s = price_per_s
        self.usage_limit_s = usage_limit_s
        self._charges: dict[str, Charge] = {}

    def charge(self, workload: str, mode: ExecutionMode, seconds: float, tags: tuple[str, ...]) -> None:
        """Charges a workload's final usage; raises ValueError if it is already charged."""
        if workload in self._charges:
            raise ValueError(f"{workload} is charged twice")
        self._charges[workload] = Charge(workload, mode, seconds, seconds * self.price_per_s, tags)

    @property
    def charges(self) -> tuple[Charge, ...]:
        """All charges in order."""
        return tuple(self._charges.values())

    @property
    def consumed_s(self) -> float:
        """Total charged usage, seconds."""
        return sum(charge.seconds for charge in self._charges.values())

    @property
    def money(self) -> float:
        """Total price."""
        return sum(charge.money for charge in self._charges.values())

    def tags_paid_twice(self) -> tuple[str, ...]:
        """Tags with more than one charged workload, which shows a repeated submit."""
        charged: set[str] = set()
        twice: dict[str, None] = {}
        for charge in self._charges.values():
            for tag in set(charge.tags):
                if tag in charged:
                    twice[tag] = None
                charged.add(tag)
        return tuple(twice)
