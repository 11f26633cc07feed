"""Feature flags: what they may decide for a call, and by which key a share is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

QUANTUM_PATH, QUANTUM_SHARE = "quantum_path", "quantum_share"
QUANTUM_KERNELS, QUANTUM_CLIENTS = "quantum_kernels", "quantum_clients"
SWITCHES = (QUANTUM_PATH, QUANTUM_CLIENTS, QUANTUM_KERNELS, QUANTUM_SHARE)
"""The flags that are true or false, in the order in which they are asked; all must be true for the QPU."""

SHOTS = "shots"
"""The flag that is a number: the most shots of a call."""

PROFILE = "profile"
"""The flag that is a name: the latency profile of an emulated provider."""

FLAGS = (*SWITCHES, SHOTS, PROFILE)

FLAG_REASONS = ("STATIC", "TARGETING_MATCH", "DEFAULT", "DISABLED", "STALE", "ERROR")
"""OpenFeature's reasons of a value: STALE and ERROR mean the last good one."""


def limit_of(flag: str) -> str:
    """The name of the flag among the limits that refuse calls."""
    return f"flag_{flag}"


FLAG_LIMITS = tuple(map(limit_of, (*SWITCHES, SHOTS)))
"""Those of every flag that may refuse a call."""

ANY_SHOTS = 2**31
"""No bound: no provider allows more."""

USER_CIRCUIT = "user_circuit"
"""What flags see as the kernel of a user circuit."""


@dataclass(frozen=True, slots=True)
class FlagRequest:
    """A call as flags see it.

    key: calls of the same key are on the same side of a share.
    kernel: the kernel's name.
    client: the name in the caller's certificate, "" without one.
    """

    key: str
    kernel: str
    client: str

    @classmethod
    def of(cls, request_id: str, kernel: str, client: str) -> FlagRequest:
        """The key is the caller and its run: what precedes the first "/" of the request id, or all of it.

        So a share divides the calls of one training run, unless its request ids name the run; a call that
        is sent again is on the same side in either case.
        """
        return cls(f"{client}/{request_id.partition('/')[0]}", kernel, client)


@dataclass(frozen=True, slots=True)
class FlagDecision:
    """What flags allow a call; never more than the settings and the spending limits do.

    kept_by: the flag that keeps the call from the QPU, "" if none does.
    most_shots: the most shots it may use.
    """

    kept_by: str = ""
    most_shots: int = ANY_SHOTS


ALLOW = FlagDecision()


class FlagState(StrEnum):
    """Whether the flags in force are what their source says now."""

    NONE = "none"
    """There is no source: every call may use the QPU."""
    OK = "ok"
    STALE = "STALE"
    """The source cannot be used; the last flags that could be are in force."""
    ERROR = "ERROR"
    """A rule could not be evaluated for a call, which got the flag's last good value."""


@dataclass(frozen=True, slots=True)
class FlagReport:
    """The flags in force.

    settings: each flag's setting, as `shotclock flags set` takes it.
    state: of their source.
    age_s: since the source last had these flags, seconds.
    reason: what is wrong with the source, "" if nothing is.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    state: FlagState = FlagState.NONE
    age_s: float = field(default=0.0, compare=False)
    reason: str = ""


NO_FLAGS = FlagReport()


@dataclass(frozen=True, slots=True)
class FlagChange:
    """A flag's setting before and after it was set."""

    flag: str
    before: str
    after: str
