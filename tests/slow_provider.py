"""A provider that is slower than it predicts: `quantum.provider = "slow_provider:build"` in settings."""

from __future__ import annotations

from shotclock.domain.ports import Clock
from shotclock.providers.scripted import Reply, ScriptedProvider

PREDICTED_S = 0.05
QUICK_S, SLOW_S = 0.15, 0.25
"""Three jobs of four are back within 200 ms, so the breaker sees nothing wrong; their p95 is not."""


def build(clock: Clock, seed: int) -> ScriptedProvider:
    """As a factory that `quantum.provider` names."""
    script = [Reply(SLOW_S if number % 4 == 3 else QUICK_S) for number in range(10_000)]
    return ScriptedProvider(clock, script, predicted_s=PREDICTED_S, seed=seed)
