"""Candidates, rule by rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shotclock.domain.plural import count

Bools = npt.NDArray[np.bool_]
Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Step:
    """One rule. what: its words; remaining: how many candidates it left."""

    what: str
    remaining: int


class NoCandidateError(Exception):
    """A requirement that no host meets."""


class Narrowing:
    """The candidates that the rules so far have left."""

    def __init__(self, hosts: int) -> None:
        self.candidates = np.ones(hosts, dtype=np.bool_)
        self.steps: list[Step] = []
        self._without_effect: list[str] = []

    @property
    def first(self) -> int:
        """The row of the first candidate."""
        return int(np.flatnonzero(self.candidates)[0])

    def require(self, meets: Bools, what: str) -> None:
        """Keeps those that meet it. Raises NoCandidateError where none does."""
        remaining = self.candidates & meets
        if not remaining.any():
            raise NoCandidateError(f"no host is {what}, of {count(int(self.candidates.sum()), 'candidate')}")
        self._keep(remaining, what)

    def prefer(self, meets: Bools, what: str) -> None:
        """Keeps those that meet it, unless none does."""
        remaining = self.candidates & meets
        if remaining.any():
            self._keep(remaining, what)
        else:
            self._without_effect.append(what)

    def is_unmet(self, what: str) -> bool:
        """Whether this preference was met by none."""
        return what in self._without_effect

    def least(self, figures: Float64s) -> float | None:
        """The lowest known figure of the candidates."""
        known = figures[self.candidates & ~np.isnan(figures)]
        return float(known.min()) if known.size else None

    def _keep(self, remaining: Bools, what: str) -> None:
        if remaining.sum() < self.candidates.sum():
            self.steps.append(Step(what, int(remaining.sum())))
        self.candidates = remaining
