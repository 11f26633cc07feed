"""A job of the endpoint, and its documents in the API."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from importlib.metadata import version
from typing import Any

from shotclock.domain.circuit import NOT_SIMULATED
from shotclock.emulator.rest.faults import InjectedFault
from shotclock.emulator.rest.instants import EmulatedTime
from shotclock.emulator.rest.metering import ExecutionMode, UsageInterval
from shotclock.emulator.rest.plan import ExecutionPlan
from shotclock.emulator.rest.prepared import Chip, Fragments, Prepared

Json = Any  # a JSON document
RAN_TOO_LONG = 1305
# From this version on the API reports only qpu_charge_time_seconds (IBM Quantum Compute REST API changelog).
USAGE_RENAMED = "2026-03-15"
# The emulator's Qiskit, which reads and runs the circuits.
QISKIT_VERSION = version("qiskit")


class JobState(StrEnum):
    """The API's job states."""

    QUEUED = "Queued"
    RUNNING = "Running"
    COMPLETED = "Completed"
    CANCELLED = "Cancelled"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What the client requested.

    program_id: sampler, estimator, executor or noise-learner
    backend: the device's name
    params: JSON text
    tags: the client's tags
    session_id: "" outside a session
    limit_s: the longest QPU time to pay for; None for no limit
    private: whether results may be read only once
    image: the requested runtime image, "" for the default
    calibration_id: the requested calibration, "" for the latest
    """

    program_id: str
    backend: str
    params: str
    tags: tuple[str, ...]
    session_id: str
    limit_s: float | None
    private: bool
    image: str = ""
    calibration_id: str = ""


@dataclass(slots=True, eq=False)
class EndpointJob:
    """An accepted job. All instants are emulated seconds; None means not yet.

    id, number: its name, and its number in order of acceptance
    ask: the client's request
    mode: how usage is charged
    prepared: its circuits' figures
    chip: the device at its calibration
    plan: its drawn times and seeds
    fate: the faults that affect it
    created_s: when it was accepted
    eligible_s: when its wait behind other users ends
    state, reason, reason_code: as the API reports them
    running_s, finished_s: begin and end
    locked: when it had the QPU
    usage_s: charged QPU seconds
    usage_final_s: when the API reports the usage as final
    overrun: whether computing took longer than the emulated time
    tags: current tags
    results, results_read: the encoded results, and whether they were read
    """

    id: str
    number: int
    ask: JobRequest
    mode: ExecutionMode
    prepared: Prepared
    chip: Chip
    plan: ExecutionPlan
    fate: frozenset[InjectedFault]
    created_s: float
    eligible_s: float = 0.0
    state: JobState = JobState.QUEUED
    reason: str = ""
    reason_code: int = 0
    running_s: float | None = None
    finished_s: float | None = None
    locked: tuple[UsageInterval, ...] = ()
    usage_s: float = 0.0
    usage_final_s: float | None = None
    overrun: bool = False
    tags: tuple[str, ...] = ()
    results: list[Fragments] = field(default_factory=list)
    results_read: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether its state is final."""
        return self.state not in {JobState.QUEUED, JobState.RUNNING}


def job_document(job: EndpointJob, time: EmulatedTime, *, with_params: bool) -> Json:
    """The body of GET /jobs/{id}."""
    ran_too_long = job.reason_code == RAN_TOO_LONG
    state: Json = {"status": job.state.value}
    if job.reason:
        state |= {"reason": job.reason, "reason_code": job.reason_code or None}
    document: Json = {
        "id": job.id,
        "backend": job.ask.backend,
        "state": state,
        "status": "Cancelled - Ran too long" if ran_too_long else job.state.value,
        "program": {"id": job.ask.program_id},
        "created": time.stamp(job.created_s),
        "runtime": job.ask.image,
        "cost": round(job.ask.limit_s) if job.ask.limit_s is not None else 10_800,
        "tags": list(job.tags),
        "user_id": "emulated",
        "private": job.ask.private,
        "estimated_running_time_seconds": job.plan.estimate_s,
        "usage": usage_document(job, time.now_s(), ""),
        "emulated": {"speed": time.speed, "overrun": job.overrun},
    }
    if job.ask.session_id:
        document["session_id"] = job.ask.session_id
    if job.finished_s is not None:
        document["ended"] = time.stamp(job.finished_s)
    if job.ask.calibration_id:
        document["calibration_id"] = job.ask.calibration_id
    if with_params and not job.ask.private:
        document["params"] = json.loads(job.ask.params)
    return document


def _simulation_document(job: EndpointJob) -> Json:
    """How the samples were computed; null before they are, and where they are random bits."""
    simulation = job.results[0].simulation if job.results else NOT_SIMULATED
    return asdict(simulation) if simulation.method else None


def usage_document(job: EndpointJob, now_s: float, api_version: str) -> Json:
    """Usage, zero and pending until it is final, with the field names of the requested API version."""
    final = job.usage_final_s is not None and now_s >= job.usage_final_s
    seconds = job.usage_s if final else 0.0
    usage: Json = {"qpu_charge_time_seconds": seconds, "status": "final" if final else "pending"}
    if api_version < USAGE_RENAMED:
        usage |= {"seconds": seconds, "quantum_seconds": seconds}
    return usage


def metrics_document(job: EndpointJob, time: EmulatedTime, position: int, api_version: str) -> Json:
    """The body of GET /jobs/{id}/metrics; position: a waiting job's place in the queue."""
    stamps = {"created": job.created_s, "running": job.running_s, "finished": job.finished_s}
    items = job.prepared.items
    document: Json = {
        "timestamps": {name: None if at is None else time.stamp(at) for name, at in stamps.items()},
        "usage": usage_document(job, time.now_s(), api_version),
        "qiskit_version": QISKIT_VERSION,
        "executions": sum(item.executions * item.shots for item in items),
        "num_circuits": len(items),
        "num_qubits": [item.qubits for item in items],
        "circuit_depths": [item.depth for item in items],
        "circuits_execution_time_ns": round(job.plan.shooting_s * 1e9) if job.locked else 0,
        "emulated": {"speed": time.speed, "overrun": job.overrun, "simulation": _simulation_document(job)},
    }
    if job.state is JobState.QUEUED:
        start_s = max(job.eligible_s, time.now_s())
        document |= {
            "position_in_queue": position,
            "estimated_start_time": time.stamp(start_s),
            "estimated_completion_time": time.stamp(start_s + job.plan.estimate_s),
        }
    return document
