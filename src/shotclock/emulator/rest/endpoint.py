"""The API's behaviour without HTTP: jobs, sessions, usage, faults. Transport and clock are arguments."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from shotclock.domain.errors import SettingsError, WorkerError
from shotclock.domain.ports import Offload
from shotclock.emulator.device import DeviceFacts
from shotclock.emulator.figures import Distribution
from shotclock.emulator.model_file import first_fault
from shotclock.emulator.profile import Profile
from shotclock.emulator.queue import FairShareQueue
from shotclock.emulator.rest.backends import Backend
from shotclock.emulator.rest.errors import REFUSALS, ApiError, bad_request, not_found
from shotclock.emulator.rest.faults import SUBMIT_FAULTS, FaultPlan, FaultRule, InjectedFault, Scope
from shotclock.emulator.rest.instants import EmulatedTime
from shotclock.emulator.rest.jobs import EndpointJob, JobRequest
from shotclock.emulator.rest.limits import SubmitLimit
from shotclock.emulator.rest.machine import Machine
from shotclock.emulator.rest.metering import Account, ExecutionMode
from shotclock.emulator.rest.plan import plan
from shotclock.emulator.rest.prepared import Prepared, PreparedBackend, Refused
from shotclock.emulator.rest.sessions import Mode, Session
from shotclock.emulator.rest.worker import prepare
from shotclock.emulator.rest.workloads import Workloads
from shotclock.emulator.windows import CalibrationWindows

PROGRAMS = ("sampler", "estimator", "executor", "noise-learner")
NO_PROGRAM = f"Emulated programs: {', '.join(PROGRAMS)}."
# A job's circuits (one per row of parameters) times their shots (IBM docs, "Job limits").
MAX_EXECUTIONS = 10_000_000
MAX_TTL_S = 28_800.0
MAINTENANCE_S = 60.0
FATES = SUBMIT_FAULTS - REFUSALS.keys() - {InjectedFault.DROP, InjectedFault.DROP_BEFORE}


class JobBody(BaseModel):
    """The body of POST /jobs; other members are ignored, because they concern only IBM's service.

    program_id: sampler, estimator, executor or noise-learner.
    backend: the device's name.
    params: the program's input.
    session_id: None or "" outside a session.
    tags: the client's tags; None for no tags.
    cost: the longest QPU time to pay for, seconds; None for no limit.
    private: whether results may be read only once; None for no.
    runtime: the requested runtime image; None for the default.
    calibration_id: the requested calibration; None or "" for the latest.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    program_id: str
    backend: str
    params: dict[str, JsonValue]
    session_id: str | None = None
    tags: tuple[str, ...] | None = None
    cost: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    private: bool | None = None
    runtime: str | None = None
    calibration_id: str | None = None


class SessionBody(BaseModel):
    """The body of POST /sessions.

    mode: "dedicated" is a session, "batch" a batch.
    backend: the device's name; None if `backend_name` gives it.
    backend_name: the device's name where `backend` is missing.
    max_ttl: the longest duration from its start, seconds; None for the longest there is.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    mode: Mode = "dedicated"
    backend: str | None = None
    backend_name: str | None = None
    max_ttl: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """The settings of an endpoint.

    profile: the latency profile
    speed: emulated seconds per second
    seed: of all random draws
    rules: scheduled faults
    queue: the wait behind other users; None for the profile's
    price_per_s: money per second of usage
    usage_limit_s: the instance's limit; None for no limit
    interactive_ttl_s: how long a session stays active without a job, emulated seconds
    calibration: when the devices are calibrated; None for the profile's windows
    """

    profile: Profile
    speed: float
    seed: int
    rules: tuple[FaultRule, ...] = ()
    queue: Distribution | None = None
    price_per_s: float = 0.0
    usage_limit_s: float | None = None
    interactive_ttl_s: float = 60.0
    calibration: CalibrationWindows | None = None


class Endpoint:
    """The state behind the API."""

    def __init__(
        self,
        settings: EndpointSettings,
        devices: dict[str, tuple[DeviceFacts, PreparedBackend]],
        offload: Offload,
        time: EmulatedTime,
    ) -> None:
        self.settings = settings
        self.time = time
        self.backends = {documents.name: Backend(facts, documents) for facts, documents in devices.values()}
        self.account = Account(settings.price_per_s, settings.usage_limit_s)
        self.faults = FaultPlan(settings.rules, settings.seed)
        self.machines = {
            name: Machine(backend.facts.lanes, time, self.is_exhausted)
            for name, backend in self.backends.items()
        }
        self.queue = FairShareQueue(settings.queue or settings.profile.queue, settings.seed)
        self.workloads = Workloads(self.machines, self.queue, offload, time, self.account)
        rate = settings.profile.submissions_per_minute
        self._limit = SubmitLimit(rate.value if rate else None)
        self._offload = offload
        self._declared_exhausted = False
        self._job_count = 0
        self._calibrating: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Starts the profile's calibration windows on the running loop."""
        windows = self.settings.calibration or self.settings.profile.calibration
        if windows is not None:
            self._calibrating = [
                asyncio.create_task(self._calibrate(name, windows)) for name in self.machines
            ]

    async def end(self) -> None:
        """Ends every job and calibration."""
        for task in self._calibrating:
            task.cancel()
        await asyncio.gather(*self._calibrating, return_exceptions=True)
        await self.workloads.stop()

    def consumed_s(self) -> float:
        """Usage so far: everything charged, plus the open sessions."""
        now_s = self.time.now_s()
        sessions = self.workloads.sessions.values()
        dedicated = [each for each in sessions if each.closed_s is None and each.mode == "dedicated"]
        return self.account.consumed_s + sum(session.usage_s(now_s) for session in dedicated)

    def is_exhausted(self) -> bool:
        """Whether the instance's usage limit is reached."""
        limit_s = self.settings.usage_limit_s
        return self._declared_exhausted or (limit_s is not None and self.consumed_s() >= limit_s)

    async def submit(self, body: JsonValue, cut: Callable[[], Awaitable[None]]) -> EndpointJob:
        """Accepts a new job; `cut` closes the client's connection. Raises ApiError."""
        struck = self.faults.strike(Scope.SUBMIT)
        for fault in struck:
            if fault in REFUSALS:
                raise REFUSALS[fault]
        if InjectedFault.DROP_BEFORE in struck:
            await cut()
            raise REFUSALS[InjectedFault.SERVER_ERROR]
        ask = self._ask(body)
        if not self._limit.take(self.time.now_s()):
            raise REFUSALS[InjectedFault.TOO_MANY_REQUESTS]
        number = self._number()
        job = await self._accept(ask, number, frozenset(struck) & FATES)
        self.workloads.start(job)
        if InjectedFault.DROP in struck:
            await cut()
        return job

    def job(self, job_id: str) -> EndpointJob:
        """The job with this id; raises ApiError."""
        job = self.workloads.jobs.get(job_id)
        if job is None:
            raise not_found(f"Job {job_id}")
        return job

    def open_session(self, body: JsonValue) -> Session:
        """Opens a session or batch; raises ApiError."""
        try:
            fields = SessionBody.model_validate(body)
        except ValidationError as error:
            raise bad_request(first_fault(error, "body")) from error
        backend = self.backend(fields.backend or fields.backend_name or "")
        number = self._number()
        session = Session(
            id=f"emulated-{self.settings.seed}-{self.time.era}-s{number}",
            number=number,
            backend=backend.name,
            mode=fields.mode,
            max_ttl_s=fields.max_ttl or MAX_TTL_S,
            interactive_ttl_s=self.settings.interactive_ttl_s,
            created_s=self.time.now_s(),
        )
        self.workloads.open(session)
        return session

    def session(self, session_id: str) -> Session:
        """The session with this id; raises ApiError."""
        session = self.workloads.sessions.get(session_id)
        if session is None:
            raise not_found(f"Session {session_id}")
        return session

    def backend(self, name: str) -> Backend:
        """The device with this name; raises ApiError."""
        backend = self.backends.get(name)
        if backend is None:
            raise ApiError(404, 1007, f"Backend not found: {name}", f"Known: {', '.join(self.backends)}")
        return backend

    def apply_fault(self, fault: InjectedFault) -> None:
        """Applies a fault of the devices or the instance; ignores faults of single requests."""
        if fault is InjectedFault.MAINTENANCE:
            for machine in self.machines.values():
                machine.maintain(MAINTENANCE_S)
        if fault is InjectedFault.CALIBRATION:
            for backend in self.backends.values():
                backend.calibrate(self.time.stamp(self.time.now_s()), self.settings.seed)
        if fault is InjectedFault.EXHAUSTED:
            self._declared_exhausted = True

    async def clear(self) -> None:
        """Removes all fault rules; faults of accepted jobs stay."""
        self.faults.clear()
        self._declared_exhausted = False
        for machine in self.machines.values():
            machine.reopen()

    async def _calibrate(self, name: str, windows: CalibrationWindows) -> None:
        """Runs the calibration windows: takes the QPU between two jobs and returns it with new values."""
        machine, number = self.machines[name], 0
        while True:
            number += 1
            await self.time.sleep_until(windows.begins_s(number))
            await machine.take()
            try:
                # The full duration, even if the window began late.
                await self.time.sleep_until(self.time.now_s() + windows.lasts.seconds)
                self.backends[name].calibrate(self.time.stamp(self.time.now_s()), self.settings.seed)
            finally:
                await machine.give_back()

    def _number(self) -> int:
        self._job_count += 1
        return self._job_count

    def _ask(self, body: JsonValue) -> JobRequest:
        try:
            fields = JobBody.model_validate(body)
        except ValidationError as error:
            raise bad_request(first_fault(error, "body")) from error
        if fields.program_id not in PROGRAMS:
            raise ApiError(404, "not_found", f"Program {fields.program_id!r} is not emulated", NO_PROGRAM)
        backend = self.backend(fields.backend)
        if fields.calibration_id and backend.calibration(fields.calibration_id) is None:
            raise bad_request(no_calibration(backend, fields.calibration_id))
        if fields.session_id:
            self._check_admission(fields.session_id, fields.backend)
        return JobRequest(
            fields.program_id,
            fields.backend,
            json.dumps(fields.params),
            tuple(fields.tags or ()),
            fields.session_id or "",
            fields.cost,
            bool(fields.private),
            fields.runtime or "",
            fields.calibration_id or "",
        )

    def _check_admission(self, session_id: str, backend: str) -> None:
        session = self.session(session_id)
        if not session.accepting:
            raise ApiError(400, 1217, "Session has been closed", "Open a new session.")
        if session.backend != backend:
            raise bad_request(f"backend: the session's is {session.backend}")

    async def _accept(self, ask: JobRequest, number: int, fate: frozenset[InjectedFault]) -> EndpointJob:
        backend = self.backend(ask.backend)
        facts = backend.facts
        try:
            prepared = await self._offload.run(prepare, facts.name, ask.program_id, ask.params)
        except WorkerError as error:  # the worker died: nothing was accepted
            raise REFUSALS[InjectedFault.SERVER_ERROR] from error
        if isinstance(prepared, Refused):
            raise bad_request(prepared.message)
        if ask.session_id:  # it may have been closed while the worker prepared the program
            self._check_admission(ask.session_id, ask.backend)
        _check(prepared, facts)
        rng = np.random.default_rng((self.settings.seed, number))
        try:
            job_plan = plan(prepared, facts, self.settings.profile, rng)
        except SettingsError as error:
            raise bad_request(str(error)) from error
        return EndpointJob(
            id=f"emulated-{self.settings.seed}-{self.time.era}-{number}",
            number=number,
            ask=ask,
            mode=self._mode(ask),
            prepared=prepared,
            chip=backend.chip,
            plan=job_plan,
            fate=fate,
            created_s=self.time.now_s(),
            tags=ask.tags,
        )

    def _mode(self, ask: JobRequest) -> ExecutionMode:
        if not ask.session_id:
            return "job"
        return "batch" if self.session(ask.session_id).mode == "batch" else "session"


def no_calibration(backend: Backend, calibration_id: str) -> str:
    """The error text for a calibration that does not exist."""
    known = ", ".join(calibration.id for calibration in backend.history)
    return f"calibration_id: {backend.name} has no calibration {calibration_id[:60]!r}; known: {known}"


def _check(prepared: Prepared, facts: DeviceFacts) -> None:
    if not prepared.items:
        raise bad_request("pubs: must hold at least one PUB")
    most = max(item.shots for item in prepared.items)
    if most > facts.max_shots:
        raise bad_request(f"shots: {most}, {facts.name} takes at most {facts.max_shots}")
    executions = sum(item.executions * item.shots for item in prepared.items)
    if executions > MAX_EXECUTIONS:
        raise bad_request(f"executions: {executions}, circuits times shots, at most {MAX_EXECUTIONS}")
