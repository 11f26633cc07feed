"""Observers of finished calls in a user's training loop: functions of one frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from shotclock.domain.errors import SettingsError
from shotclock.domain.iteration import FinishedCall


class CallObserver(Protocol):
    """Called with every finished call on the training thread; what it raises is raised there."""

    def __call__(self, call: FinishedCall, /) -> None:
        """The call, from its step boundary to the aggregator's decision."""


def rank(environ: Mapping[str, str]) -> int:
    """This process's rank as set by torchrun, 0 without torchrun. Raises SettingsError if it is invalid."""
    value = environ.get("RANK", "0")
    if not value.isdecimal():
        raise SettingsError(f"environment: RANK: '{value}' is not a rank; torchrun sets it to 0, 1, …")
    return int(value)
