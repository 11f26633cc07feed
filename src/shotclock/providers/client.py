"""What a remote provider asks of a vendor's client: blocking calls, our own values and faults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from qiskit import QuantumCircuit

from shotclock.domain.circuit import Samples
from shotclock.domain.errors import FaultKind, JobEndedError, ProviderError
from shotclock.providers.edge import count_of, microseconds_of, seconds

ExecutionMode = Literal["job", "batch", "session"]


class UnreadableError(ProviderError):
    """The job's samples came, and they make no sense."""


class JobNotFoundError(JobEndedError):
    """The vendor knows no such job, or does not know it yet: its reads may lag behind its submits."""


class UnknownStateError(ProviderError):
    """The job is in a state that nobody here knows."""


class SessionGoneError(ProviderError):
    """The session takes no more jobs; nothing was accepted."""


@dataclass(frozen=True, slots=True)
class DeviceLimits:
    """What the account and the device allow; delays in seconds. emulated: the endpoint says so itself."""

    backend: str
    emulated: bool
    n_qubits: int
    max_shots: int
    max_circuits: int
    rep_delay_default_s: float
    rep_delay_range_s: tuple[float, float]

    @classmethod
    def of(cls, backend: str, configuration: Mapping[str, Any], *, emulated: bool) -> DeviceLimits:
        """From a back end's configuration as IBM's API gives it, which stores microseconds.

        Raises ProviderError(PERMANENT) on a figure that cannot be one.
        """
        return cls(
            backend=backend,
            emulated=emulated,
            n_qubits=count_of(configuration, "n_qubits"),
            max_shots=count_of(configuration, "max_shots", 100_000),
            max_circuits=count_of(configuration, "max_experiments", 300),
            rep_delay_default_s=microseconds_of(configuration, "default_rep_delay", 0.0),
            rep_delay_range_s=_range_s(configuration.get("rep_delay_range") or (0.0, 0.0)),
        )


def _range_s(limits: object) -> tuple[float, float]:
    match limits:
        case [low, high]:
            low_us, high_us = seconds(low), seconds(high)
            if low_us is not None and high_us is not None and low_us <= high_us:
                return low_us * 1e-6, high_us * 1e-6
    raise ProviderError(
        FaultKind.PERMANENT,
        f"the device's configuration: rep_delay_range must be two ascending numbers of microseconds "
        f"(got {str(limits)[:40]!r}); choose another with quantum.backend",
    )


@dataclass(frozen=True, slots=True)
class Metrics:
    """A job's own record. Lengths in seconds of the vendor's clock; None is not known.

    queued_s: created to running; running_s: running to finished; usage_s: what is charged, once it is
    final; tells_usage: whether it ever will be; speed: how many times faster than real an emulation runs,
    0 on hardware; overrun: the emulation computed longer than the time it emulates.
    """

    queued_s: float | None = None
    running_s: float | None = None
    usage_s: float | None = None
    tells_usage: bool = True
    speed: float = 0.0
    overrun: bool = False

    def qpu_s(self, estimate_s: float) -> float:
        """What the job consumed, as far as it is known: never nothing because nothing is reported.

        The usage; before it is final the time it was running, which is no less.
        """
        known = self.running_s if self.usage_s is None else self.usage_s
        return estimate_s if known is None else known


@dataclass(frozen=True, slots=True)
class Usage:
    """What an account has consumed and may consume, seconds; None is not reported."""

    consumed_s: float | None = None
    limit_s: float | None = None
    exhausted: bool = False


class Handle(Protocol):
    """A job at the vendor's."""

    @property
    def id(self) -> str:
        """The vendor's name of it."""

    @property
    def tag(self) -> str:
        """Ours; the id where the vendor keeps none."""


class Lease(Protocol):
    """A session or batch, or the lack of one. id: "" where jobs run alone."""

    @property
    def id(self) -> str:
        """The vendor's name of it."""


J = TypeVar("J", bound=Handle)
L = TypeVar("L", bound=Lease)


class Client(Protocol[J, L]):
    """One back end of one account. Every method blocks, once, and raises ProviderError alone."""

    name: str

    def limits(self) -> DeviceLimits:
        """What the device says of itself."""

    def ping(self) -> None:
        """Raises where no jobs are taken now."""

    def usage(self) -> Usage:
        """What the account has left."""

    def open(self, mode: ExecutionMode, max_time_s: int | None) -> L:
        """A session or batch, or nothing in job mode."""

    def usage_s(self, lease: L) -> float | None:
        """Usage of the session so far, seconds; None where it is not reported."""

    def close(self, lease: L) -> None:
        """Takes no more jobs; it ends with its last one."""

    def submit(
        self,
        lease: L,
        circuits: Sequence[QuantumCircuit],
        shots: int,
        tag: str,
        rep_delay_s: float | None,
    ) -> J:
        """One job, a PUB a circuit."""

    def job(self, job_id: str) -> J:
        """A job of this account, whoever submitted it. Raises JobNotFoundError where it does not exist."""

    def find(self, tag: str) -> tuple[str, ...]:
        """The ids of the jobs under a tag; PERMANENT where the vendor keeps no tags."""

    def has_ended(self, job: J) -> bool:
        """Looks once whether the job has ended, well or not. Raises UnknownStateError on a state that is
        neither, JobNotFoundError where there is no such job, or not yet.
        """

    def samples(self, job: J) -> tuple[Samples, ...]:
        """The samples of a job that has ended, circuit after circuit. Raises JobEndedError where it failed,
        UnreadableError on nonsense.
        """

    def metrics(self, job: J) -> Metrics:
        """The job's stamps and usage as they are now."""

    def cancel(self, job: J) -> None:
        """Ends the job; nothing is raised where it has ended."""
