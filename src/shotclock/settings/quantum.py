"""`[quantum]`: provider, device, profile, shots and budget of a call."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import (
    Field,
    field_validator,
)

from shotclock.settings.branch import Branch, Budget, RepDelay


class QuantumSettings(Branch):
    """The quantum path of an arm; `[arm.NAME]` overrides it.

    rep_delay_choices_us: shorter delays that may be taken where the budget leaves no room for the default;
    each costs fidelity. preview_shots: samples of a local pre-evaluation that can veto a submit which
    promises nothing; 0 is off.

    Of the providers ibm and qrmi: credentials_file, holding IBM's API key, readable by its owner alone ("":
    the vendor's variables); instance, a CRN; backend, IBM's name of the device; execution_mode;
    session_max_s, the longest a session or batch may last; session_idle_s, after which an idle one is closed.
    """

    provider: str = "emulated"
    device: str = "heron-torino"
    profile: str = "colocated"
    shots: Annotated[int, Field(ge=1)] | Literal["fit"] = 256
    rep_delay_us: RepDelay | Literal["default"] = "default"
    rep_delay_choices_us: tuple[RepDelay, ...] = ()
    budget_ms: Budget = 200.0
    wait_limit_ms: Budget = 30_000.0
    mode: Literal["inline", "overlap", "offline", "auto"] = "auto"
    on_stale: Literal["revalidate", "drop"] = "revalidate"
    preview_shots: int = Field(default=0, ge=0, le=4096)
    credentials_file: str = ""
    instance: str = ""
    backend: str = ""
    execution_mode: Literal["job", "batch", "session"] = "job"
    session_max_s: int | None = Field(default=None, ge=1)
    session_idle_s: float = Field(default=5.0, gt=0, le=86_400)
    max_money_per_run: float = Field(default=0.0, ge=0, le=1e12)

    @field_validator("rep_delay_choices_us")
    @classmethod
    def _ever_shorter(cls, choices: tuple[float, ...]) -> tuple[float, ...]:
        if any(after >= before for before, after in pairwise(choices)):
            raise ValueError("each must be shorter than the one before")
        return choices

    @property
    def shorter_rep_delays_s(self) -> tuple[float, ...]:
        """What may be taken instead of the default, seconds, in descending order."""
        return tuple(delay * 1e-6 for delay in self.rep_delay_choices_us)

    @property
    def rep_delay_s(self) -> float | None:
        """Seconds; None is the device's default."""
        return None if self.rep_delay_us == "default" else float(self.rep_delay_us) * 1e-6
