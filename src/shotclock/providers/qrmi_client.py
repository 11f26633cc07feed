"""QRMI behind the blocking seam: OpenQASM 3 in, a primitive's result out, faults recognised by their text."""

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
    JobNotFoundError,
    Metrics,
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
    """A task of QRMI; see `Handle`. completed: it was seen to have; text: its result once it was fetched."""

    id: str
    tag: str
    completed: bool = False
    text: str = ""
    fetching: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class QrmiLease:
    """An acquisition of QRMI, "" where none was made here; see `Lease`."""

    id: str = ""


class QrmiClient:
    """Implements Client on one resource. A resource object takes one call at a time, so each thread reads
    through its own; the one that holds the lease submits, in turn.
    """

    name = "qrmi"

    def __init__(
        self, backend: str, kind: ResourceType, secret: Secret, *, emulated: bool, held: bool
    ) -> None:
        self._backend = backend
        self._kind = kind
        self._secret = secret
        self._emulated = emulated
        self._held = held
        self._own = threading.local()
        self._submitting = threading.Lock()
        self._leasing = self._resource()

    def limits(self) -> DeviceLimits:
        """See `Client.limits`."""
        with self._edge(Doing.READ):
            configuration = self._target()["configuration"]
            if not isinstance(configuration, Mapping):
                raise TypeError(f"configuration: a {type(configuration).__name__} came back")
            return DeviceLimits.of(self._backend, configuration, emulated=self._emulated)

    def _target(self) -> Mapping[str, Any]:
        """The device's own documents."""
        document = json.loads(self._mine().target().value)
        if not isinstance(document, Mapping):
            raise TypeError(f"target: a {type(document).__name__} came back")
        return document

    def ping(self) -> None:
        """See `Client.ping`."""
        with self._edge(Doing.READ):
            found = self._mine().status()
        if found.status != ResourceStatusCode.Online:
            reason = f": {found.status_reason}" if found.status_reason else ""
            raise ProviderError(FaultKind.TRANSIENT, f"qrmi: {self._backend} takes no jobs now{reason}")

    def usage(self) -> Usage:
        """Not reported by QRMI."""
        return Usage()

    def open(self, mode: ExecutionMode, max_time_s: int | None) -> QrmiLease:
        """See `Client.open`; the scheduler's lease is left alone, QRMI's variables set mode and TTL."""
        del max_time_s
        if mode == "job" or self._held:
            return QrmiLease()
        with self._turn(), self._edge(Doing.READ):
            return QrmiLease(self._leasing.acquire())

    def usage_s(self, lease: QrmiLease) -> float | None:
        """Not reported by QRMI."""
        del lease
        return None

    def close(self, lease: QrmiLease) -> None:
        """See `Client.close`; QRMI cancels what still waits in it."""
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
        # A connection that cannot be had reads like one that was lost: so it is tried without a job first.
        with self._edge(Doing.READ):
            self._mine().status()
            payload = Payload.QiskitPrimitive(input=json.dumps(document), program_id="sampler")
        with self._turn(), self._edge(Doing.SUBMIT):
            started = self._leasing.task_start(payload)
            if not isinstance(started, str) or not started.strip():
                raise ProviderError(FaultKind.AMBIGUOUS, "qrmi: the answer to the submit names no job")
            return QrmiJob(started, tag)

    def job(self, job_id: str) -> QrmiJob:
        """See `Client.job`."""
        with self._edge(Doing.READ):
            self._mine().task_status(job_id)
        return QrmiJob(job_id, job_id)

    def find(self, tag: str) -> tuple[str, ...]:
        """QRMI lists no jobs and keeps no tags: always PERMANENT."""
        raise ProviderError(
            FaultKind.PERMANENT, f"qrmi: keeps no tags, so a job under {tag} cannot be looked up"
        )

    def has_ended(self, job: QrmiJob) -> bool:
        """See `Client.has_ended`."""
        with self._edge(Doing.READ):
            state = self._mine().task_status(job.id)
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
        except Exception as error:  # noqa: BLE001 - a decoder raises what it likes
            job.text = ""
            what = self._secret.redact(describe(error))[:LONGEST]
            raise UnreadableError(FaultKind.PERMANENT, f"qrmi: results of {job.id}: {what}") from None

    def metrics(self, job: QrmiJob) -> Metrics:
        """The time in which data was taken; QRMI reports neither stamps nor usage."""
        try:
            spans = ResultDecoder.decode(self._result(job)).metadata["execution"]["execution_spans"]
            running_s = seconds((_moment(spans.stop) - _moment(spans.start)).total_seconds())
        except Exception:  # noqa: BLE001 - whatever the vendor wrote there, the samples are not lost by it
            return Metrics(tells_usage=False)
        return Metrics(running_s=running_s, tells_usage=False)

    def cancel(self, job: QrmiJob) -> None:
        """See `Client.cancel`; a job that ended on the way there is refused, which is not a fault."""
        try:
            with self._edge(Doing.READ):
                self._mine().task_stop(job.id)
        except ProviderError:
            if not self.has_ended(job):
                raise

    def _result(self, job: QrmiJob) -> str:
        with job.fetching:
            if not job.text:
                job.text = self._fetched(job)
            return job.text

    def _fetched(self, job: QrmiJob) -> str:
        """The result of a job that has ended; that of one that completed is there, or will be soon."""
        try:
            with self._edge(Doing.READ):
                return str(self._mine().task_result(job.id).value)
        except JobEndedError as error:
            if job.completed:
                raise JobNotFoundError(error.kind, str(error)) from None
            raise

    def _mine(self) -> QuantumResource:
        """This thread's own resource object."""
        if not hasattr(self._own, "resource"):
            self._own.resource = self._resource()
        return self._own.resource

    def _resource(self) -> QuantumResource:
        with self._edge(Doing.READ):
            try:
                return QuantumResource(self._backend, self._kind)
            except EnvVarNotSetError as error:
                raise SettingsError(f"qrmi: {self._secret.redact(str(error))}") from None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The object that submits, for one call. QRMI may repeat a refused submit for ever: the next one
        does not wait for it, and nothing of it was sent.
        """
        if not self._submitting.acquire(timeout=TURN_LIMIT_S):
            raise ProviderError(
                FaultKind.TRANSIENT, f"qrmi: {self._backend} has not taken the submit before this one"
            )
        try:
            yield
        finally:
            self._submitting.release()

    def _edge(self, doing: Doing) -> AbstractContextManager[None]:
        """Where whatever QRMI raises becomes ours."""
        return translate_errors(lambda error: self._translate(error, doing))

    def _translate(self, error: Exception, doing: Doing) -> ProviderError:
        said = self._secret.redact(str(error) if isinstance(error, QrmiError) else describe(error))
        text = f"qrmi: {_words(said)[:LONGEST]}"
        if doing is Doing.READ and (isinstance(error, TaskNotFoundError) or _status(said) == 404):
            return JobNotFoundError(FaultKind.PERMANENT, text)
        if isinstance(error, TaskNotReadyError):
            # Asked only once the job has ended: it failed or was cancelled; QRMI says why on premises alone.
            return JobEndedError(FaultKind.PERMANENT, text)
        return ProviderError(_kind(error, said, doing), text)


def _kind(error: Exception, said: str, doing: Doing) -> FaultKind:
    """By the HTTP status where the text holds one; by what never left this machine; else it is not known."""
    status = _status(said)
    if status in NOT_ACCEPTED or status in TRY_LATER or f'"code":{SESSION_CLOSED}' in said:
        return FaultKind.TRANSIENT
    if isinstance(error, AuthenticationFailedError | InvalidInputError | EnvVarNotSetError | ConfigError):
        return FaultKind.PERMANENT
    if status is not None:
        if status < 500:
            return FaultKind.PERMANENT
        return FaultKind.AMBIGUOUS if doing is Doing.SUBMIT else FaultKind.TRANSIENT
    # A token, or the input's way into the bucket: the job itself was not posted yet.
    before = "/identity/" in said or "upload to S3" in said
    return FaultKind.AMBIGUOUS if doing is Doing.SUBMIT and not before else FaultKind.TRANSIENT


def _status(said: str) -> int | None:
    """The cloud's answers begin with status and phrase, the Quantum System API's hold a status_code."""
    found = re.search(r'\b([45]\d\d) [A-Z]|"status_code":([45]\d\d)', said)
    return int(found[1] or found[2]) if found else None


def _words(text: str) -> str:
    """The service's own message in place of the JSON around it."""
    before = text.partition("{")[0].strip()
    if found := re.search(r'"code":"?([\w.]+)"?,"message":"([^"]*)"', text):
        return f"{before} {found[2]} (code {found[1]})"
    if found := re.search(r'"title":"([^"]*)"', text):
        return f"{before} {found[1]} (status {_status(text)})"
    return text


def _qasm(circuit: QuantumCircuit) -> str:
    return str(qasm3.dumps(circuit, disable_constants=True, allow_aliasing=True))


def _moment(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
