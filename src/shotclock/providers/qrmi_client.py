"""Implements Client on QRMI: sends OpenQASM 3, reads primitive results, classifies faults by their text."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from qiskit import QuantumCircuit, qasm3
from qiskit_ibm_runtime.decoders.result_decoder import ResultDecoder
from qrmi import (  # type: ignore[attr-defined]
    AuthenticationFailedError,
    ConfigError,
    EnvVarNotSetError,
    InvalidInputError,
    Payload,
    QrmiError,
    QuantumResource,
    ResourceStatusCode,
    ResourceType,
    TaskNotFoundError,
    TaskNotReadyError,
    TaskStatus,
)

from shotclock.domain.circuit import Samples
from shotclock.domain.errors import FaultKind, JobEndedError, ProviderError, SettingsError
from shotclock.providers.client import (
    DeviceLimits,
    ExecutionMode,
    JobMetrics,
    JobNotFoundError,
    UnknownStateError,
    UnreadableError,
    Usage,
)
from shotclock.providers.credentials import Secret
from shotclock.providers.edge import describe, seconds, translate_errors
from shotclock.providers.ibm_faults import (
    LONGEST,
    NOT_ACCEPTED,
    SESSION_CLOSED,
    TRY_LATER,
    Doing,
)
from shotclock.providers.ibm_results import samples_of

TURN_LIMIT_S = 5.0
UNDER_WAY = (TaskStatus.Queued, TaskStatus.Running)
OVER = (TaskStatus.Completed, TaskStatus.Failed, TaskStatus.Cancelled)


@dataclass(slots=True, eq=False)
class QrmiJob:
    """A task of QRMI; see `Handle`.

    id: QRMI's id.
    tag: our tag.
    completed: a poll has reported it as completed.
    text: its result, "" until it is fetched.
    fetching: held while the result is fetched.
    """

    id: str
    tag: str
    completed: bool = False
    text: str = ""
    fetching: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class QrmiLease:
    """An acquisition of QRMI, "" if this process made none; see `Lease`."""

    id: str = ""


class QrmiClient:
    """Implements Client on one resource.

    A resource object handles one call at a time, so each thread reads through its own object; submits take
    turns on the object that holds the lease.
    """

    name = "qrmi"
    lists_jobs = False

    def __init__(
        self, backend: str, kind: ResourceType, secret: Secret, *, emulated: bool, acquisition: str
    ) -> None:
        self._backend = backend
        self._kind = kind
        self._secret = secret
        self._emulated = emulated
        self.acquisition = acquisition
        self._local = threading.local()
        self._submitting = threading.Lock()
        self._leasing = self._resource()

    def limits(self) -> DeviceLimits:
        """See `Client.limits`."""
        with self._edge(Doing.READ):
            configuration = self._target()["configuration"]
            if not isinstance(configuration, Mapping):
                raise TypeError(f"configuration: must be a JSON object (got {type(configuration).__name__})")
            return DeviceLimits.of(self._backend, configuration, emulated=self._emulated)

    def _target(self) -> Mapping[str, Any]:
        """The device's configuration and properties."""
        document = json.loads(self._thread_resource().target().value)
        if not isinstance(document, Mapping):
            raise TypeError(f"target: must be a JSON object (got {type(document).__name__})")
        return document

    def ping(self) -> None:
        """See `Client.ping`."""
        with self._edge(Doing.READ):
            status = self._thread_resource().status()
        if status.status != ResourceStatusCode.Online:
            reason = f": {status.status_reason}" if status.status_reason else ""
            raise ProviderError(FaultKind.TRANSIENT, f"qrmi: {self._backend} accepts no jobs now{reason}")

    def usage(self) -> Usage:
        """Not reported by QRMI."""
        return Usage()

    def open(self, mode: ExecutionMode, max_time_s: int | None) -> QrmiLease:
        """See `Client.open`; a scheduler's lease is used unchanged. QRMI's variables set mode and TTL."""
        del max_time_s
        if mode == "job" or self.acquisition:
            return QrmiLease()
        with self._turn(), self._edge(Doing.READ):
            return QrmiLease(self._leasing.acquire())

    def usage_s(self, lease: QrmiLease) -> float | None:
        """Not reported by QRMI."""
        del lease
        return None

    def close(self, lease: QrmiLease) -> None:
        """See `Client.close`; QRMI cancels jobs that still wait in the session."""
        if lease.id:
            with self._turn(), self._edge(Doing.READ):
                self._leasing.release(lease.id)

    def submit(
        self,
        lease: QrmiLease,
        circuits: Sequence[QuantumCircuit],
        shots: int,
        tag: str,
        rep_delay_s: float | None,
    ) -> QrmiJob:
        """See `Client.submit`; QRMI sends no tag."""
        del lease
        execution = {} if rep_delay_s is None else {"execution": {"rep_delay": rep_delay_s}}
        document = {
            "pubs": [(_qasm(circuit), None, shots) for circuit in circuits],
            "shots": shots,
            "options": execution,
            "version": 2,
            "support_qiskit": True,
        }
        # QRMI's errors for a connection never made and for one lost are alike: test it without a job first.
        with self._edge(Doing.READ):
            self._thread_resource().status()
            payload = Payload.QiskitPrimitive(input=json.dumps(document), program_id="sampler")
        with self._turn(), self._edge(Doing.SUBMIT):
            job_id = self._leasing.task_start(payload)
            if not isinstance(job_id, str) or not job_id.strip():
                raise ProviderError(FaultKind.AMBIGUOUS, "qrmi: the answer to the submit has no job id")
            return QrmiJob(job_id, tag)

    def job(self, job_id: str) -> QrmiJob:
        """See `Client.job`."""
        with self._edge(Doing.READ):
            self._thread_resource().task_status(job_id)
        return QrmiJob(job_id, job_id)

    def find(self, tag: str) -> tuple[str, ...]:
        """QRMI lists no jobs and keeps no tags: always PERMANENT."""
        raise ProviderError(
            FaultKind.PERMANENT, f"qrmi: keeps no tags, so a job under {tag} cannot be looked up"
        )

    def has_ended(self, job: QrmiJob) -> bool:
        """See `Client.has_ended`."""
        with self._edge(Doing.READ):
            state = self._thread_resource().task_status(job.id)
        if state not in UNDER_WAY and state not in OVER:
            raise UnknownStateError(
                FaultKind.TRANSIENT, f"qrmi: job {job.id} is in the unknown state {state}"
            )
        job.completed = state == TaskStatus.Completed
        return state in OVER

    def samples(self, job: QrmiJob) -> tuple[Samples, ...]:
        """See `Client.samples`."""
        text = self._result(job)
        try:
            return samples_of(ResultDecoder.decode(text))
        except Exception as error:  # noqa: BLE001 - a decoder may raise anything
            job.text = ""
            what = self._secret.redact(describe(error))[:LONGEST]
            raise UnreadableError(FaultKind.PERMANENT, f"qrmi: results of {job.id}: {what}") from None

    def metrics(self, job: QrmiJob) -> JobMetrics:
        """The time in which data was taken; QRMI reports neither timestamps nor usage."""
        try:
            spans = ResultDecoder.decode(self._result(job)).metadata["execution"]["execution_spans"]
            running_s = seconds((_parse(spans.stop) - _parse(spans.start)).total_seconds())
        except Exception:  # noqa: BLE001 - unreadable metadata must not cost the samples
            return JobMetrics(tells_usage=False)
        return JobMetrics(running_s=running_s, tells_usage=False)

    def cancel(self, job: QrmiJob) -> None:
        """See `Client.cancel`; QRMI refuses to stop a job that has just ended, which is not a fault."""
        try:
            with self._edge(Doing.READ):
                self._thread_resource().task_stop(job.id)
        except ProviderError:
            if not self.has_ended(job):
                raise

    def _result(self, job: QrmiJob) -> str:
        with job.fetching:
            if not job.text:
                job.text = self._fetch_result(job)
            return job.text

    def _fetch_result(self, job: QrmiJob) -> str:
        try:
            with self._edge(Doing.READ):
                return str(self._thread_resource().task_result(job.id).value)
        except JobEndedError as error:
            # The result of a completed job may lag behind its state: not found yet, so it is read again.
            if job.completed:
                raise JobNotFoundError(error.kind, str(error)) from None
            raise

    def _thread_resource(self) -> QuantumResource:
        """This thread's resource object."""
        if not hasattr(self._local, "resource"):
            self._local.resource = self._resource()
        return self._local.resource

    def _resource(self) -> QuantumResource:
        with self._edge(Doing.READ):
            try:
                return QuantumResource(self._backend, self._kind)
            except EnvVarNotSetError as error:
                raise SettingsError(f"qrmi: {self._secret.redact(str(error))}") from None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Holds the submitting object for one call.

        QRMI may repeat a refused submit for ever, so the next submit stops waiting after a while, with
        nothing sent.
        """
        if not self._submitting.acquire(timeout=TURN_LIMIT_S):
            raise ProviderError(
                FaultKind.TRANSIENT, f"qrmi: {self._backend} has not accepted the previous submit yet"
            )
        try:
            yield
        finally:
            self._submitting.release()

    def _edge(self, doing: Doing) -> AbstractContextManager[None]:
        """Translates whatever QRMI raises inside."""
        return translate_errors(lambda error: self._translate(error, doing))

    def _translate(self, error: Exception, doing: Doing) -> ProviderError:
        message = self._secret.redact(str(error) if isinstance(error, QrmiError) else describe(error))
        text = f"qrmi: {_shorten(message)[:LONGEST]}"
        if doing is Doing.READ and (isinstance(error, TaskNotFoundError) or _status(message) == 404):
            return JobNotFoundError(FaultKind.PERMANENT, text)
        if isinstance(error, TaskNotReadyError):
            # The result is read only after the end, so the job failed or was cancelled; only on premises
            # does QRMI say why.
            return JobEndedError(FaultKind.PERMANENT, text)
        return ProviderError(_kind(error, message, doing), text)


def _kind(error: Exception, message: str, doing: Doing) -> FaultKind:
    """Decides by the HTTP status in the message, else by whether the job was sent, else AMBIGUOUS."""
    status = _status(message)
    if status in NOT_ACCEPTED or status in TRY_LATER or f'"code":{SESSION_CLOSED}' in message:
        return FaultKind.TRANSIENT
    if isinstance(error, AuthenticationFailedError | InvalidInputError | EnvVarNotSetError | ConfigError):
        return FaultKind.PERMANENT
    if status is not None:
        if status < 500:
            return FaultKind.PERMANENT
        return FaultKind.AMBIGUOUS if doing is Doing.SUBMIT else FaultKind.TRANSIENT
    # The token request or the upload of the input failed: the job itself was not posted yet.
    before = "/identity/" in message or "upload to S3" in message
    return FaultKind.AMBIGUOUS if doing is Doing.SUBMIT and not before else FaultKind.TRANSIENT


def _status(message: str) -> int | None:
    """The HTTP status: the cloud's answers begin with it, the Quantum System API's have a status_code."""
    match = re.search(r'\b([45]\d\d) [A-Z]|"status_code":([45]\d\d)', message)
    return int(match[1] or match[2]) if match else None


def _shorten(message: str) -> str:
    """The service's own message without the JSON around it."""
    before = message.partition("{")[0].strip()
    if match := re.search(r'"code":"?([\w.]+)"?,"message":"([^"]*)"', message):
        return f"{before} {match[2]} (code {match[1]})"
    if match := re.search(r'"title":"([^"]*)"', message):
        return f"{before} {match[1]} (status {_status(message)})"
    return message


def _qasm(circuit: QuantumCircuit) -> str:
    return str(qasm3.dumps(circuit, disable_constants=True, allow_aliasing=True))


def _parse(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
