"""What runs tasks on other hosts: the `Engine` port, its tasks and what it reports of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shotclock.domain.errors import RunError


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of work for a new Python process on some host.

    name: unique in a run, and fit for a file's name.
    module: `python -m` runs it with a folder, which has the document as `task.json`, and the host's name; it
        leaves `result.json` there, or ends with an exit code other than 0 and one line on stderr.
    document: JSON.
    qpu_slots: that it reserves.
    avoid: hosts that must not run it.
    may_repeat: whether the scheduler may run it again by itself.
    """

    name: str
    module: str
    document: str
    qpu_slots: int = 0
    avoid: frozenset[str] = frozenset()
    may_repeat: bool = True


@dataclass(frozen=True, slots=True)
class Finished:
    """A task with its result, JSON."""

    task: str
    host: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """A task that ended with an error of its work; another host would meet it too."""

    task: str
    host: str
    because: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A task whose host or process went away; it may be started again. host: "" where none had begun it."""

    task: str
    host: str
    because: str


Report = Finished | Failed | Lost


class TaskFailedError(RunError):
    """The task's own error, in one line."""


class TaskKilledError(RunError):
    """The task's process was ended by a signal."""


class Engine(Protocol):
    """Runs tasks on the hosts of a cluster, one process each.

    name: ray or slurm.
    """

    @property
    def name(self) -> str:
        """Of the engine."""

    def list_hosts(self, qpu_slots: int) -> tuple[str, ...]:
        """The hosts that are alive and could run a task with so many slots."""

    def start(self, task: Task) -> None:
        """Hands it over; it waits for a host. Raises MachineError, SettingsError."""

    def wait(self, limit_s: float) -> list[Report]:
        """What ended since the last call; empty after `limit_s` without any. Each task is reported once."""

    def close(self) -> None:
        """Ends the tasks that still wait or run."""
