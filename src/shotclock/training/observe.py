"""Who hears of finished calls in a training loop of one's own: a function of one frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from shotclock.domain.errors import SettingsError
from shotclock.domain.iteration import FinishedCall


class CallObserver(Protocol):
    """Hears of every call when it has ended, on the training thread; whatever it raises is raised there."""

    def __call__(self, call: FinishedCall, /) -> None:
        """The call, from its step boundary to the aggregator's decision."""


def rank(environ: Mapping[str, str]) -> int:
    """This process's rank as torchrun tells it, 0 without torchrun. SettingsError where it is no number."""
    told = environ.get("RANK", "0")
    if not told.isdecimal():
        raise SettingsError(f"environment: RANK: '{told}' is not a rank; torchrun sets it to 0, 1, …")
    return int(told)
