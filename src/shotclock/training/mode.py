"""Chooses how a call meets training from measured latencies: waited for, overlapped, or applied later."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal

Mode = Literal["inline", "overlap", "offline"]

FEWEST = 20
"""Calls before a measured p95 is used: fewer values have no meaningful 95th percentile."""
WINDOW = 100
RETURN_BELOW = 0.8
"""Share of the budget below which "auto" returns to inline, so that the mode does not oscillate."""


def choose_mode(
    setting: Literal["inline", "overlap", "offline", "auto"],
    predicted_p95_s: float,
    budget_ms: float,
    horizon_s: float = math.inf,
) -> Mode:
    """`auto` waits inline only if the call's p95 fits the iteration's budget (the specification's rule).

    Above the budget calls overlap if an answer arrives within the horizon, else they are offline.
    """
    if setting != "auto":
        return setting
    if predicted_p95_s * 1e3 <= budget_ms:
        return "inline"
    return "overlap" if predicted_p95_s <= horizon_s else "offline"


@dataclass(frozen=True, slots=True)
class ModeSwitch:
    """A change of mode by "auto".

    calls: how many calls had been measured.
    p95_s: the p95 that caused it, seconds; infinite if too many calls had no answer.
    mode: the new mode.
    """

    calls: int
    p95_s: float
    mode: Mode


class ModeChooser:
    """Starts from a prediction; `auto` then follows the p95 of the last 100 calls, other modes are fixed.

    changes: every change, in order.
    """

    def __init__(
        self,
        setting: Literal["inline", "overlap", "offline", "auto"],
        predicted_p95_s: float,
        budget_ms: float,
        horizon_s: float = math.inf,
    ) -> None:
        self._adapts = setting == "auto"
        self._budget_ms = budget_ms
        self._horizon_s = horizon_s
        self._latencies: deque[float] = deque(maxlen=WINDOW)
        self._calls = 0
        self.mode: Mode = choose_mode(setting, predicted_p95_s, budget_ms, horizon_s)
        self.changes: list[ModeSwitch] = []

    def observe(self, latency_s: float) -> None:
        """Records one call's latency, seconds; infinite if no answer arrived by its deadline."""
        self._calls += 1
        self._latencies.append(latency_s)
        if not self._adapts or len(self._latencies) < FEWEST:
            return
        p95_s = self._p95_s()
        budget_ms = self._budget_ms if self.mode == "inline" else RETURN_BELOW * self._budget_ms
        mode = choose_mode("auto", p95_s, budget_ms, self._horizon_s)
        if mode != self.mode:
            self.mode = mode
            self.changes.append(ModeSwitch(self._calls, p95_s, mode))
            # The new mode has another deadline, which cuts off latencies at another value.
            self._latencies.clear()

    def _p95_s(self) -> float:
        """By nearest rank, so that the result is a measured latency."""
        ordered = sorted(self._latencies)
        return ordered[math.ceil(0.95 * len(ordered)) - 1]
