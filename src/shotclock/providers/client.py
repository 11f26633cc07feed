"""The port to a vendor's client: blocking calls that return our values and raise our faults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from qiskit import QuantumCircuit

from shotclock.domain.circuit import NOT_SIMULATED, Samples, Simulation
from shotclock.domain.errors import FaultKind, JobEndedError, ProviderError
from shotclock.providers.edge import count_of, microseconds_of, seconds

ExecutionMode = Literal["job", "batch", "session"]


class UnreadableError(ProviderError):
    """The job's samples arrived but cannot be read."""


class JobNotFoundError(JobEndedError):
    """The vendor does not know the job, or not yet: its reads may lag behind its submits."""


class UnknownStateError(ProviderError):
    """The job is in a state that this code does not know."""


class SessionGoneError(ProviderError):
    """The session accepts no more jobs; nothing was accepted."""


@dataclass(frozen=True, slots=True)
class DeviceLimits:
    """What the account and the device allow.

    backend: the device's name.
    emulated: the endpoint reports that it is emulated.
    n_qubits: qubits of the device.
    max_shots: shots per job.
    max_circuits: circuits per job.
    rep_delay_default_s: the default rep_delay, seconds.
    rep_delay_range_s: the shortest and the longest rep_delay, seconds.
    """

    backend: str
    emulated: bool
    n_qubits: int
    max_shots: int
    max_circuits: int
    rep_delay_default_s: float
    rep_delay_range_s: tuple[float, float]

    @classmethod
    def of(cls, backend: str, configuration: Mapping[str, Any], *, emulated: bool) -> DeviceLimits:
        """From a back end's configuration in IBM's format, which uses microseconds.

        Raises ProviderError(PERMANENT) on an invalid value.
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
        f"(got {str(limits)[:40]!r}); choose another device with quantum.backend",
    )


@dataclass(frozen=True, slots=True)
class JobMetrics:
    """The vendor's record of a job; seconds of the vendor's clock, None if unknown.

    queued_s: from created to running, seconds.
    running_s: from running to finished, seconds.
    finished_at_s: when it finished, seconds since 1970.
    usage_s: the final charged usage, seconds.
    tells_usage: whether the vendor ever reports usage.
    speed: how many times faster than real time an emulation runs; 0 on hardware.
    overrun: the emulation took longer than the time it emulates.
    simulation: how an emulation computed the samples.
    """

    queued_s: float | None = None
    running_s: float | None = None
    finished_at_s: float | None = None
    usage_s: float | None = None
    tells_usage: bool = True
    speed: float = 0.0
    overrun: bool = False
    simulation: Simulation = NOT_SIMULATED

    def qpu_s(self, estimate_s: float) -> float:
        """The job's QPU time as far as it is known; unknown usage never counts as zero.

        The usage, or before it is final the running time, which is at least as long, or the estimate.
        """
        reported_s = self.running_s if self.usage_s is None else self.usage_s
        return estimate_s if reported_s is None else reported_s


@dataclass(frozen=True, slots=True)
class Usage:
    """What an account has consumed and may consume, seconds; None if not reported."""

    consumed_s: float | None = None
    limit_s: float | None = None
    exhausted: bool = False


class Handle(Protocol):
    """A job at the vendor."""

    @property
    def id(self) -> str:
        """The vendor's id of the job."""

    @property
    def tag(self) -> str:
        """Our tag; the id if the vendor keeps no tags."""


class Lease(Protocol):
    """A session or batch, or none if jobs run alone."""

    @property
    def id(self) -> str:
        """The vendor's id of the session or batch; "" without one."""


J = TypeVar("J", bound=Handle)
L = TypeVar("L", bound=Lease)


class Client(Protocol[J, L]):
    """One back end of one account. Methods block, do not retry, and raise only ProviderError."""

    name: str
    lists_jobs: bool
    acquisition: str
    """The lease that a scheduler made for this process, in which jobs without another one run; "" without."""

    def limits(self) -> DeviceLimits:
        """The limits the device reports."""

    def ping(self) -> None:
        """Raises if no jobs are accepted now."""

    def usage(self) -> Usage:
        """The account's usage."""

    def open(self, mode: ExecutionMode, max_time_s: int | None) -> L:
        """A session or batch; an empty lease in job mode."""

    def usage_s(self, lease: L) -> float | None:
        """The session's usage so far, seconds; None if not reported."""

    def close(self, lease: L) -> None:
        """Closes the session or batch to new jobs; it ends with its last job."""

    def submit(
        self,
        lease: L,
        circuits: Sequence[QuantumCircuit],
        shots: int,
        tag: str,
        rep_delay_s: float | None,
    ) -> J:
        """Submits one job with one PUB per circuit."""

    def job(self, job_id: str) -> J:
        """Any job of this account, also one submitted elsewhere. Raises JobNotFoundError if unknown."""

    def find(self, tag: str) -> tuple[str, ...]:
        """The ids of the jobs with a tag. Raises ProviderError(PERMANENT) if the vendor keeps no tags."""

    def has_ended(self, job: J) -> bool:
        """Reads once whether the job has ended, successfully or not.

        Raises UnknownStateError on an unknown state, JobNotFoundError if the job is not known, or not yet.
        """

    def samples(self, job: J) -> tuple[Samples, ...]:
        """The samples of an ended job, in the order of its circuits.

        Raises JobEndedError if the job failed, UnreadableError if the samples cannot be read.
        """

    def metrics(self, job: J) -> JobMetrics:
        """The job's present timestamps and usage."""

    def cancel(self, job: J) -> None:
        """Cancels the job; raises nothing if it has ended."""
