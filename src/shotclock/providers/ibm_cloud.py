"""Implements Client on qiskit-ibm-runtime: checks its answers and translates every fault."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any

from qiskit import QuantumCircuit
from qiskit.providers import QiskitBackendNotFoundError
from qiskit_ibm_runtime import Batch, IBMBackend, QiskitRuntimeService, RuntimeJobV2, SamplerV2, Session
from qiskit_ibm_runtime.exceptions import IBMError, RuntimeInvalidStateError, RuntimeProgramNotFound
from qiskit_ibm_runtime.executor_sampler import Sampler

from shotclock.domain.circuit import Samples
from shotclock.domain.errors import FaultKind, JobEndedError, ProviderError
from shotclock.providers.client import DeviceLimits, ExecutionMode, JobMetrics, UnknownStateError, Usage
from shotclock.providers.credentials import Secret
from shotclock.providers.edge import seconds, translate_errors
from shotclock.providers.ibm_exchange import Exchange, record_submit
from shotclock.providers.ibm_faults import (
    JOB_ENDED,
    Doing,
    ResultsUnreadableError,
    UsageExhaustedError,
    is_program_unknown,
    translate,
)
from shotclock.providers.ibm_results import metrics_of, samples_of
from shotclock.providers.ibm_tokens import TokenError

UNDER_WAY = ("INITIALIZING", "QUEUED", "RUNNING")
OF_THE_JOB = (IBMError, *JOB_ENDED, OSError, TokenError)
"""Raised for how a job ended, or for a failed request; anything else means an unreadable answer."""
EMULATED_PLAN = "emulated"
MOST_FOUND = 10
"""Most jobs listed per tag: more than one is an error already."""


class RuntimeService(QiskitRuntimeService):  # type: ignore[misc]
    """The client's service with two changes to every submit.

    It does not look the back end up again, a round trip whose failure the client reports as "no backend
    matches", but uses `chosen`. If no usage is left, it raises instead of only warning.
    """

    chosen: IBMBackend | None = None

    def __init__(self, **arguments: Any) -> None:
        self.unusable: dict[str, BaseException] = {}
        """Listed back ends whose configuration could not be read, and why."""
        super().__init__(**arguments)

    def backend(self, name: str, *arguments: Any, **options: Any) -> IBMBackend:
        """See `QiskitRuntimeService.backend`."""
        if self.chosen is not None and name == self.chosen.name:
            return self.chosen
        return super().backend(name, *arguments, **options)

    def _create_backend_obj(self, backend_name: str, *arguments: Any, **options: Any) -> IBMBackend:
        """See `QiskitRuntimeService`, which only logs why it omits a back end."""
        try:
            return super()._create_backend_obj(backend_name, *arguments, **options)
        except QiskitBackendNotFoundError as error:
            self.unusable[backend_name] = error.__cause__ or error
            raise
        except Exception as error:
            self.unusable[backend_name] = error
            raise QiskitBackendNotFoundError(f"the configuration of {backend_name} cannot be read") from error

    def usage(self) -> dict[str, Any]:
        """See `QiskitRuntimeService.usage`; read before every submit. Raises UsageExhaustedError.

        An answer that is not understood is ignored: it must not prevent a submit.
        """
        try:
            document = self.account_usage()
        except (ValueError, TypeError, RecursionError):
            return {}
        if document.get("usage_limit_reached") is True:
            consumed, limit = document.get("usage_consumed_seconds"), document.get("usage_limit_seconds")
            raise UsageExhaustedError(
                f"the instance has no usage left: {consumed} s consumed, limit {limit or 'of its plan'}"
            )
        return document

    def account_usage(self) -> dict[str, Any]:
        """The instance's usage as the service reports it. Raises TypeError, ValueError on other answers."""
        document: object = self._active_api_client.cloud_usage()
        if not isinstance(document, dict):
            raise TypeError(f"usage: must be a JSON object (got {type(document).__name__})")
        return document


class ConfigurationError(Exception):
    """A back end's configuration cannot be read; the cause says why."""


class _ProgramUnknownError(Exception):
    """The service does not have the newer sampler's program, so nothing was accepted."""


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
    """Implements Client: submits by the executor's Sampler, or by SamplerV2 if the service lacks it."""

    name = "ibm"
    lists_jobs = True
    acquisition = ""

    def __init__(self, service: RuntimeService, backend: IBMBackend, secret: Secret) -> None:
        self._service = service
        self._backend = backend
        self._secret = secret
        self._sampler: type[Sampler] = Sampler

    def _edge(self, doing: Doing, exchange: Exchange | None = None) -> AbstractContextManager[None]:
        """Translates whatever the client raises inside."""
        return translate_errors(lambda error: translate(error, doing, self._secret, exchange))

    def limits(self) -> DeviceLimits:
        """See `Client.limits`."""
        with self._edge(Doing.READ):
            try:
                configuration = self._backend.configuration().to_dict()
            except Exception as error:
                raise ConfigurationError(
                    f"the configuration of {self._backend.name} cannot be read"
                ) from error
            emulated = self._service.account_usage().get("plan_id") == EMULATED_PLAN
            return DeviceLimits.of(self._backend.name, configuration, emulated=emulated)

    def usage(self) -> Usage:
        """See `Client.usage`."""
        with self._edge(Doing.READ):
            document = self._service.account_usage()
        return Usage(
            seconds(document.get("usage_consumed_seconds")),
            seconds(document.get("usage_limit_seconds")),
            document.get("usage_limit_reached") is True,
        )

    def ping(self) -> None:
        """See `Client.ping`: checks the device's status and the instance's usage."""
        with self._edge(Doing.READ):
            status = self._backend.status()
            self._service.usage()
            if status.operational is not True:
                raise ConnectionError(f"{self._backend.name} accepts no jobs: {status.status_msg}")

    def open(self, mode: ExecutionMode, max_time_s: int | None) -> IbmLease:
        """See `Client.open`."""
        kinds = {"session": Session, "batch": Batch}
        if mode not in kinds:
            return IbmLease(None)
        with self._edge(Doing.READ):
            session = kinds[mode](backend=self._backend, max_time=max_time_s)
            # A job in a session without an id would run, and be charged, outside it.
            _check_id(session.session_id, FaultKind.TRANSIENT, f"the {mode} that was opened")
            return IbmLease(session)

    def usage_s(self, lease: IbmLease) -> float | None:
        """See `Client.usage_s`."""
        with self._edge(Doing.READ):
            return seconds(lease.session.usage()) if lease.session is not None else None

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
        """See `Client.submit`; the tag is part of the POST.

        The older sampler is used if the service does not have the newer one's program, in which case nothing
        was accepted. The next job tries the newer one again, because the refusal may be temporary.
        """
        with record_submit() as exchange, self._edge(Doing.SUBMIT, exchange):
            with suppress(_ProgramUnknownError):
                return self._post(self._sampler, lease, circuits, shots, tag, rep_delay_s)
            return self._post(SamplerV2, lease, circuits, shots, tag, rep_delay_s)

    def _post(
        self,
        kind: type[Sampler] | type[SamplerV2],
        lease: IbmLease,
        circuits: Sequence[QuantumCircuit],
        shots: int,
        tag: str,
        rep_delay_s: float | None,
    ) -> IbmJob:
        sampler = kind(mode=lease.session or self._backend)
        sampler.options.environment.job_tags = [tag]
        if rep_delay_s is not None:
            sampler.options.execution.rep_delay = rep_delay_s
        try:
            runtime = sampler.run(list(circuits), shots=shots)
        except RuntimeProgramNotFound as error:
            if is_program_unknown(error) and kind is not SamplerV2:
                raise _ProgramUnknownError from error
            raise
        _check_id(runtime.job_id(), FaultKind.AMBIGUOUS, "the job that was submitted")
        return IbmJob(runtime, tag)

    def job(self, job_id: str) -> IbmJob:
        """See `Client.job`."""
        with self._edge(Doing.READ):
            runtime = self._service.job(job_id)
            tags = runtime.tags if isinstance(runtime.tags, list) else []
            return IbmJob(runtime, next((tag for tag in tags if isinstance(tag, str)), job_id))

    def find(self, tag: str) -> tuple[str, ...]:
        """See `Client.find`; reads one page of the service's list, which may lag behind a submit.

        The client's `jobs` would page for ever if the list counts a job that it does not show yet.
        """
        with self._edge(Doing.READ):
            page = self._backend._api_client.jobs_get(limit=MOST_FOUND, job_tags=[tag])
            return tuple(str(entry["id"]) for entry in page["jobs"] if tag in entry.get("tags", [tag]))

    def has_ended(self, job: IbmJob) -> bool:
        """See `Client.has_ended`."""
        with self._edge(Doing.READ):
            state = job.runtime.status()
        if state in RuntimeJobV2.JOB_FINAL_STATES:
            return True
        if state in UNDER_WAY:
            return False
        if str(state).startswith("CANCELLED"):
            raise JobEndedError(FaultKind.PERMANENT, f"ibm: job {job.id} was cancelled: {state}")
        raise UnknownStateError(FaultKind.TRANSIENT, f"ibm: job {job.id} is in the unknown state {state!r}")

    def samples(self, job: IbmJob) -> tuple[Samples, ...]:
        """See `Client.samples`."""
        with self._edge(Doing.READ):
            try:
                return samples_of(job.runtime.result())
            except OF_THE_JOB:
                raise
            except Exception as error:  # noqa: BLE001 - a decoder may raise anything
                raise ResultsUnreadableError(f"results of {job.id} cannot be read: {error}") from None

    def metrics(self, job: IbmJob) -> JobMetrics:
        """See `Client.metrics`."""
        with self._edge(Doing.READ):
            return metrics_of(job.runtime.metrics())

    def cancel(self, job: IbmJob) -> None:
        """See `Client.cancel`."""
        with self._edge(Doing.READ), suppress(RuntimeInvalidStateError):
            job.runtime.cancel()


def _check_id(id_: object, kind: FaultKind, what: str) -> None:
    if not isinstance(id_, str) or not id_.strip():
        raise ProviderError(kind, f"ibm: the answer has no id of {what} (got {str(id_)[:40]!r})")
