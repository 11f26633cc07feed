"""The few exceptions: bad settings, a broken environment, and a vendor's fault at the edge.

Expected trouble on the way of a call is a value, not an exception (`outcome.py`).
"""

from __future__ import annotations

import re
from concurrent.futures import CancelledError
from enum import StrEnum

LONGEST_TEXT = 3_000
"""Characters of an error's text."""
_NOT_OF_A_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls, other line ends, changes of direction, and halves of characters."""


class ShotclockError(Exception):
    """Base of every error Shotclock raises on purpose; its text is one line for a person.

    A text may quote what came from elsewhere: what a line cannot show is escaped, and the text is cut.
    """

    exit_code = 4

    def __str__(self) -> str:
        text = super().__str__()
        if not text.isprintable():
            text = _NOT_OF_A_LINE.sub(lambda character: ascii(character[0])[1:-1], text)
        return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


class SettingsError(ShotclockError):
    """A setting, flag or input that cannot be used: says what, where, and what to do."""

    exit_code = 2


class MachineError(ShotclockError):
    """The machine cannot do what was asked: a missing package, an unwritable folder, a taken port."""

    exit_code = 3


class RunError(ShotclockError):
    """A run that could not go on; what ran is kept."""


class CallError(RunError):
    """A call of a primitive ended without an answer, and without a fallback."""


class DeadlineExceeded(CallError):  # noqa: N818 - as gRPC and Qiskit's users know it
    """No samples by the call's deadline, or a refusal because there would be none."""


class CallRefusedError(CallError):
    """The call was refused on arrival: a limit, a flag, an open breaker, a drain."""


class CallFailedError(CallError):
    """The provider could not run the call's circuits."""


class CallCancelledError(CallError, CancelledError):
    """The result was asked for of a call that its caller had cancelled."""


class DeltaError(RunError, ValueError):
    """A change to a model that cannot be applied; `field` names the offending one."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"delta.{field} {message}")
        self.field = field
        self.message = message

    def __reduce__(self) -> tuple[type[DeltaError], tuple[str, str]]:
        return type(self), (self.field, self.message)


class KernelError(RunError):
    """A kernel raised, or returned what cannot be used; the text names the kernel."""


class SubproblemError(ShotclockError, ValueError):
    """A subproblem whose numbers cannot be solved; `field` names the offending one."""

    exit_code = 2

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"subproblem.{field}: {message}")
        self.field = field
        self.message = message

    def __reduce__(self) -> tuple[type[SubproblemError], tuple[str, str]]:
        return type(self), (self.field, self.message)


class TooManyErrorsError(ShotclockError):
    """A subproblem whose circuit would hardly give a shot without an error on its device.

    what: the subproblem and where it would run
    error_free: the expected share of shots without an error; 0 where it cannot run at all
    least: the least share for which it is run
    """

    exit_code = 2

    def __init__(self, what: str, error_free: float, least: float) -> None:
        # Where no line has room, there is no estimate to give.
        expected = f": {error_free:.1e} of the shots are expected to be free of errors"
        estimate = f"{expected}, at least {least:g} are needed" if error_free else ""
        super().__init__(
            f"subproblem.quadratic: {what}{estimate}; "
            f"keep its terms on the device's couplings, or use fewer variables"
        )
        self.what = what
        self.error_free = error_free
        self.least = least

    def __reduce__(self) -> tuple[type[TooManyErrorsError], tuple[str, float, float]]:
        return type(self), (self.what, self.error_free, self.least)


class CircuitError(ShotclockError, ValueError):
    """A user circuit that cannot be run; `field` names the part that prevents it."""

    exit_code = 2

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"circuit.{field}: {message}")
        self.field = field
        self.message = message

    def __reduce__(self) -> tuple[type[CircuitError], tuple[str, str]]:
        return type(self), (self.field, self.message)


class FaultKind(StrEnum):
    """What a failed provider call allows next."""

    TRANSIENT = "transient"
    """Nothing took effect; the same call may be tried again."""
    PERMANENT = "permanent"
    """The same call would fail again."""
    AMBIGUOUS = "ambiguous"
    """The submit may have taken effect; it must never be repeated."""


class ProviderError(ShotclockError):
    """A vendor's fault, translated once at the edge of its module.

    retry_after_s: the vendor asked not to be called again for so long; 0 where it did not.
    """

    def __init__(self, kind: FaultKind, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[type[ProviderError], tuple[FaultKind, str, float]]:
        return type(self), (self.kind, str(self), self.retry_after_s)


class JobEndedError(ProviderError):
    """The job itself is over without samples, or there is no such job; asking again tells the same.

    TRANSIENT says that it consumed nothing, so that another may be submitted in its place.
    """


class WorkerFault(StrEnum):
    """Why this host could not do a piece of work."""

    DIED = "died"
    """Its worker process ended by itself, or was killed from outside."""
    TIME = "time"
    MEMORY = "memory"
    QUEUE = "queue"
    """As many others wait for a worker as may."""
    START = "start"
    """No worker process can be started."""


class WorkerError(ShotclockError):
    """This host could not do a piece of work within its limits; it says nothing of a provider.

    allowed, present, unit: the limit and what met it, as of a `Rejection`.
    """

    exit_code = 3

    def __init__(
        self,
        fault: WorkerFault,
        message: str,
        allowed: float = 0.0,
        present: float = 0.0,
        unit: str = "",
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.fault = fault
        self.allowed = allowed
        self.present = present
        self.unit = unit
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[type[WorkerError], tuple[WorkerFault, str, float, float, str, float]]:
        return type(self), (
            self.fault,
            str(self),
            self.allowed,
            self.present,
            self.unit,
            self.retry_after_s,
        )
