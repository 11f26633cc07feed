"""How a call meets training: waited for, overlapped, or kept for later; chosen from measured latencies."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal

Mode = Literal["inline", "overlap", "offline"]

FEWEST = 20
"""Calls before a measured p95 counts: of fewer, the 95th percentile is not in the sample."""
WINDOW = 100
RETURN_BELOW = 0.8
"""Of the budget: where an overlapped call is waited for again, so that the mode does not flutter."""


def choose_mode(
    wanted: Literal["inline", "overlap", "offline", "auto"],
    predicted_p95_s: float,
    budget_ms: float,
    horizon_s: float = math.inf,
) -> Mode:
    """`auto` waits inline only where the call's p95 fits the iteration's budget (the mission's rule).

    Above it calls overlap, as long as an answer comes back within the horizon; beyond that, offline.
    """
    if wanted != "auto":
        return wanted
    if predicted_p95_s * 1e3 <= budget_ms:
        return "inline"
    return "overlap" if predicted_p95_s <= horizon_s else "offline"


@dataclass(frozen=True, slots=True)
class ModeChange:
    """A change by measurement: after how many calls, at which p95 (infinite: too many without an answer)."""

    calls: int
    p95_s: float
    mode: Mode


class ModeChooser:
    """Starts from a prediction; `auto` then follows the p95 of the last 100 calls, a named mode never moves.

    changes: every change, in order, for results and logs.
    """

    def __init__(
        self,
        wanted: Literal["inline", "overlap", "offline", "auto"],
        predicted_p95_s: float,
        budget_ms: float,
        horizon_s: float = math.inf,
    ) -> None:
        self._adapts = wanted == "auto"
        self._budget_ms = budget_ms
        self._horizon_s = horizon_s
        self._latencies: deque[float] = deque(maxlen=WINDOW)
        self._calls = 0
        self.mode: Mode = choose_mode(wanted, predicted_p95_s, budget_ms, horizon_s)
        self.changes: list[ModeChange] = []

    def observe(self, latency_s: float) -> None:
        """A call took this long; infinite where nothing came by its deadline."""
        self._calls += 1
        self._latencies.append(latency_s)
        if not self._adapts or len(self._latencies) < FEWEST:
            return
        p95_s = self._p95_s()
        budget_ms = self._budget_ms if self.mode == "inline" else RETURN_BELOW * self._budget_ms
        found = choose_mode("auto", p95_s, budget_ms, self._horizon_s)
        if found != self.mode:
            self.mode = found
            self.changes.append(ModeChange(self._calls, p95_s, found))
            # latencies under another deadline are censored elsewhere
            self._latencies.clear()

    def _p95_s(self) -> float:
        """Nearest rank, so that it is a latency that was measured."""
        ordered = sorted(self._latencies)
        return ordered[math.ceil(0.95 * len(ordered)) - 1]
