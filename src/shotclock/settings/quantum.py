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

    provider: name of the provider: emulated, aer, ibm, qrmi, an installed plugin's, or
        "module:factory".
    device: the device that circuits are compiled for, and whose facts an emulation uses: a name, `fake:CLASS`
        of IBM's fake provider, or the path of a .toml file.
    profile: latency profile, by name or as the path of a .toml file.
    shots: shots per call, 1 or more; "fit" takes as many as fit in the rest of a call's budget.
    rep_delay_us: pause between two shots, microseconds; "default" is the device's.
    rep_delay_choices_us: shorter delays that may be taken where the budget leaves no room for the default,
        microseconds, in descending order; each costs fidelity. Empty: none is taken.
    budget_ms: the deadline of a call, milliseconds.
    wait_limit_ms: the deadline of calls that training does not wait for, and of the inline calls of an arm
        without protection, milliseconds.
    mode: how calls meet training: "inline" waits for each answer, "overlap" applies it when it arrives,
        "offline" applies answers together, "auto" follows the latency. Arms without protection are "inline"
        unless their table names another.
    on_stale: what happens to an answer whose model has moved on: "revalidate" checks it on the present model,
        "drop" rejects it.
    preview_shots: samples of a local pre-evaluation, which vetoes a submit that promises nothing beyond the
        lower energy of changing nothing and of greedy's answer; 0 is off; "auto" is 256 in a protected arm of
        `shotclock bench`, and off elsewhere.
    preview_calibration: share of the vetoed calls that is submitted all the same, so that the run can say how
        many gains the vetoes miss; equal subproblems are treated alike.
    credentials_file: path of the file with IBM's API key, readable by its owner alone; "" uses the vendor's
        variables. This and the next five are of the providers ibm and qrmi.
    instance: the vendor's instance, a CRN; "" uses the one in the credentials file.
    backend: IBM's name of the device.
    execution_mode: how jobs are run at the vendor: alone ("job"), or in a batch or a session.
    session_max_s: the longest a session or batch may last, seconds; None is the vendor's default.
    session_idle_s: how long a session may stay idle before it is closed, seconds.
    max_money_per_run: the most that each arm of a run, or a service, may spend, in `cost.currency`; with 0 a
        paid provider is refused.
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
    preview_shots: Annotated[int, Field(ge=0, le=4096)] | Literal["auto"] = "auto"
    preview_calibration: float = Field(default=0.1, ge=0, le=1)
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
