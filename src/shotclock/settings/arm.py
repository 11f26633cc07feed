"""`[arm.NAME]`: what an arm overrides of `[quantum]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
)

from shotclock.settings.branch import Branch, Budget, RepDelay


class ArmSettings(Branch):
    """Overrides of `[quantum]`, and of `kernel.every`, for one arm; what is left out (None) keeps its value.

    provider: see `QuantumSettings`.
    device: see `QuantumSettings`.
    profile: see `QuantumSettings`.
    shots: shots per call, 1 or more, or "fit".
    rep_delay_us: microseconds, or "default".
    budget_ms: the deadline of a call, milliseconds.
    wait_limit_ms: see `QuantumSettings`, milliseconds.
    mode: how calls meet training; "inline" for an arm without protection that leaves it out.
    on_stale: what happens to an answer whose model has moved on.
    every: steps between calls, 1 or more; overrides `kernel.every`.
    clock: "virtual" counts this arm's emulated waits without sleeping through them.
    """

    provider: str | None = None
    device: str | None = None
    profile: str | None = None
    shots: Annotated[int, Field(ge=1)] | Literal["fit"] | None = None
    rep_delay_us: RepDelay | Literal["default"] | None = None
    budget_ms: Budget | None = None
    wait_limit_ms: Budget | None = None
    mode: Literal["inline", "overlap", "offline", "auto"] | None = None
    on_stale: Literal["revalidate", "drop"] | None = None
    every: int | None = Field(default=None, ge=1)
    clock: Literal["virtual"] | None = None
