"""IBM's own client behind the blocking seam: public calls alone, every fault translated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from qiskit import QuantumCircuit
from qiskit.exceptions import QiskitError
from qiskit_ibm_runtime import Batch, IBMBackend, QiskitRuntimeService, RuntimeJobV2, SamplerV2, Session
from qiskit_ibm_runtime.exceptions import RuntimeInvalidStateError, RuntimeProgramNotFound
from qiskit_ibm_runtime.executor_sampler import Sampler
from requests import RequestException

from shotclock.domain.circuit import Samples
from shotclock.providers.client import DeviceLimits, ExecutionMode, Metrics, Usage
from shotclock.providers.credentials import Secret
from shotclock.providers.ibm_faults import (
    Doing,
    ResultsUnreadableError,
    UsageExhaustedError,
    translated,
)
from shotclock.providers.ibm_results import metrics_of, samples_of

VENDOR_ERRORS = (
    QiskitError,
    RequestException,
    OSError,
    ValueError,
    KeyError,
    ResultsUnreadableError,
    UsageExhaustedError,
)
EMULATED_PLAN = "emulated"


class Service(QiskitRuntimeService):  # type: ignore[misc]
    """The client's own service, but for two of its habits at every submit.

    It looks the back end up anew, a round trip whose failure it turns into "no backend matches": `chosen`
    is taken instead. And where it would only warn that no usage is left, this one refuses.
    """

    chosen: IBMBackend | None = None

    def backend(self, name: str, *arguments: Any, **options: Any) -> IBMBackend:
        """See `QiskitRuntimeService.backend`."""
        if self.chosen is not None and name == self.chosen.name:
            return self.chosen
        return super().backend(name, *arguments, **options)

    def usage(self) -> dict[str, Any]:
        """See `QiskitRuntimeService.usage`; read before every submit. Raises UsageExhaustedError."""
        document: dict[str, Any] = super().usage()
        if document.get("usage_limit_reached"):
            consumed, limit = document.get("usage_consumed_seconds"), document.get("usage_limit_seconds")
            raise UsageExhaustedError(
                f"the instance has no usage left: {consumed} s consumed, the limit is {limit or 'its plan'}"
            )
        return document


@dataclass(frozen=True, slots=True, eq=False)
class IbmJob:
    """A job of IBM's client; see `Handle`."""

    runtime: RuntimeJobV2
    tag: str

    @property
    def id(self) -> str:
        """IBM's id."""
        return str(self.runtime.job_id())


@dataclass(frozen=True, slots=True, eq=False)
class IbmLease:
    """A session or batch of IBM's client, None in job mode; see `Lease`."""

    session: Session | None

    @property
    def id(self) -> str:
        """IBM's id."""
        return str(self.session.session_id) if self.session is not None else ""


class IbmCloud:
    """Implements Client on qiskit-ibm-runtime: the executor's Sampler, SamplerV2 where it is not known."""

    name = "ibm"

    def __init__(self, service: Service, backend: IBMBackend, secret: Secret) -> None:
        self._service = service
        self._backend = backend
        self._secret = secret
        self._sampler: type[Sampler] | type[SamplerV2] = Sampler

    def limits(self) -> DeviceLimits:
        """See `Client.limits`."""
        with self._edge(Doing.READ):
            configuration = self._backend.configuration().to_dict()
        emulated = self._usage().get("plan_id") == EMULATED_PLAN
        return DeviceLimits.of(self._backend.name, configuration, emulated=emulated)

    @contextmanager
    def _edge(self, doing: Doing) -> Iterator[None]:
        """Where the client's exceptions become ours."""
        try:
            yield
        except VENDOR_ERRORS as error:
            raise translated(error, doing, self._secret) from None

    def usage(self) -> Usage:
        """See `Client.usage`."""
        document = self._usage()
        limit_s = document.get("usage_limit_seconds")
        return Usage(
            float(document.get("usage_consumed_seconds") or 0.0),
            None if limit_s is None else float(limit_s),
            bool(document.get("usage_limit_reached")),
        )

    def _usage(self) -> dict[str, Any]:
        with self._edge(Doing.READ):
            document: dict[str, Any] = QiskitRuntimeService.usage(self._service)
        return document

    def ping(self) -> None:
        """Whether jobs are taken now: the device's status and the instance's usage."""
        with self._edge(Doing.READ):
            status = self._backend.status()
            self._service.usage()
            if not status.operational:
                raise ConnectionError(f"{self._backend.name} takes no jobs: {status.status_msg}")

    def open(self, mode: ExecutionMode, max_time_s: int | None) -> IbmLease:
        """See `Client.open`."""
        kinds = {"session": Session, "batch": Batch}
        with self._edge(Doing.READ):
            return IbmLease(
                kinds[mode](backend=self._backend, max_time=max_time_s) if mode in kinds else None
            )

    def usage_s(self, lease: IbmLease) -> float:
        """See `Client.usage_s`."""
        with self._edge(Doing.READ):
            return float(lease.session.usage() or 0.0) if lease.session is not None else 0.0

    def close(self, lease: IbmLease) -> None:
        """See `Client.close`."""
        with self._edge(Doing.READ):
            if lease.session is not None:
                lease.session.close()

    def submit(
        self,
        lease: IbmLease,
        circuits: Sequence[QuantumCircuit],
        shots: int,
        tag: str,
        rep_delay_s: float | None,
    ) -> IbmJob:
        """See `Client.submit`; the tag goes with the POST itself."""

        def run() -> IbmJob:
            sampler = self._sampler(mode=lease.session or self._backend)
            sampler.options.environment.job_tags = [tag]
            if rep_delay_s is not None:
                sampler.options.execution.rep_delay = rep_delay_s
            return IbmJob(sampler.run(list(circuits), shots=shots), tag)

        with self._edge(Doing.SUBMIT):
            try:
                return run()
            except RuntimeProgramNotFound:
                if self._sampler is SamplerV2:
                    raise
                self._sampler = SamplerV2  # the service does not know the executor: nothing was accepted
                return run()

    def job(self, job_id: str) -> IbmJob:
        """See `Client.job`."""
        with self._edge(Doing.READ):
            found = self._service.job(job_id)
        return IbmJob(found, next(iter(found.tags or ()), job_id))

    def find(self, tag: str) -> tuple[str, ...]:
        """See `Client.find`; the service's own list, which may lag behind a submit."""
        with self._edge(Doing.READ):
            jobs: list[RuntimeJobV2] = self._service.jobs(job_tags=[tag])
        return tuple(str(job.job_id()) for job in jobs)

    def ended(self, job: IbmJob) -> bool:
        """See `Client.ended`."""
        with self._edge(Doing.READ):
            return job.runtime.status() in RuntimeJobV2.JOB_FINAL_STATES

    def samples(self, job: IbmJob) -> tuple[Samples, ...]:
        """See `Client.samples`."""
        with self._edge(Doing.READ):
            try:
                return samples_of(job.runtime.result())
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ResultsUnreadableError(f"results of {job.id} cannot be read: {error}") from None

    def metrics(self, job: IbmJob) -> Metrics:
        """See `Client.metrics`."""
        with self._edge(Doing.READ):
            return metrics_of(job.runtime.metrics())

    def cancel(self, job: IbmJob) -> None:
        """See `Client.cancel`."""
        with self._edge(Doing.READ), suppress(RuntimeInvalidStateError):
            job.runtime.cancel()
