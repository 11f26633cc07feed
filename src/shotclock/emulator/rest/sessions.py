"""Sessions and batches: when they are active, and their documents in the API."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from shotclock.emulator.rest.instants import EmulatedTime
from shotclock.emulator.rest.metering import UsageInterval, session_usage_s

Json = Any  # a JSON document
Mode = Literal["dedicated", "batch"]


@dataclass(slots=True, eq=False)
class Session:
    """A session (dedicated) or a batch. Instants and lengths are emulated seconds; None means not yet.

    id, number: its name, and its number in order of creation
    backend: the device's name
    mode: dedicated or batch
    max_ttl_s: longest duration from its start
    interactive_ttl_s: how long it stays active without a job
    created_s: when it was opened
    eligible_s: when its current wait behind other users ends
    active_since_s: when it became active; None while it is not
    started_s: when its first job got the QPU
    closed_s: when it was closed
    last_started_s, last_completed_s: of its jobs
    accepting: whether it accepts jobs
    pending: number of jobs that have not ended
    activations: how often it became active
    quantum_s: QPU time of its jobs
    active: past intervals in which it was active
    """

    id: str
    number: int
    backend: str
    mode: Mode
    max_ttl_s: float
    interactive_ttl_s: float
    created_s: float
    eligible_s: float | None = None
    active_since_s: float | None = None
    started_s: float | None = None
    closed_s: float | None = None
    last_started_s: float | None = None
    last_completed_s: float | None = None
    accepting: bool = True
    pending: int = 0
    activations: int = 0
    quantum_s: float = 0.0
    active: list[UsageInterval] = field(default_factory=list)

    @property
    def state(self) -> Literal["open", "active", "inactive", "closed"]:
        """The session's state in the API."""
        if self.closed_s is not None:
            return "closed"
        if self.active_since_s is not None:
            return "active"
        return "open" if self.started_s is None else "inactive"

    def record_job_start(self, at_s: float) -> None:
        """Records that one of its jobs gets the QPU."""
        self.last_started_s = at_s
        if self.active_since_s is None:
            self.active_since_s = at_s
            self.activations += 1
        if self.started_s is None:
            self.started_s = at_s

    def deactivate(self, at_s: float) -> None:
        """Ends its priority: the next job waits behind other users again."""
        if self.active_since_s is not None:
            self.active.append(UsageInterval(self.active_since_s, max(at_s, self.active_since_s)))
        self.active_since_s = None
        self.eligible_s = None

    def close(self, at_s: float) -> None:
        """Closes the session."""
        self.deactivate(at_s)
        self.accepting = False
        self.closed_s = at_s

    def usage_s(self, now_s: float) -> float:
        """Usage until now: the active wall-clock time of a session, the QPU time of a batch."""
        if self.mode == "batch":
            return self.quantum_s
        running = () if self.active_since_s is None else (UsageInterval(self.active_since_s, now_s),)
        return session_usage_s((*self.active, *running))


def session_document(session: Session, time: EmulatedTime) -> Json:
    """The body of GET /sessions/{id}."""
    now_s = time.now_s()
    left_s = session.max_ttl_s - (now_s - session.started_s if session.started_s is not None else 0.0)
    stamps = {
        "started_at": session.started_s,
        "activated_at": session.active_since_s,
        "closed_at": session.closed_s,
        "last_job_started": session.last_started_s,
        "last_job_completed": session.last_completed_s,
    }
    return {
        "id": session.id,
        "backend_name": session.backend,
        "mode": session.mode,
        "state": session.state,
        "accepting_jobs": session.accepting,
        "interactive_ttl": round(session.interactive_ttl_s),
        "max_ttl": round(session.max_ttl_s),
        "active_ttl": max(0, round(left_s)),
        "elapsed_time": session.usage_s(now_s),
        "user_id": "emulated",
        "timestamps": _transitions(session, time),
        "emulated": {"speed": time.speed},
    } | {name: time.stamp(at) for name, at in stamps.items() if at is not None}


def _transitions(session: Session, time: EmulatedTime) -> list[Json]:
    moments = [("open", session.created_s)]
    for interval in session.active:
        moments += [("active", interval.start_s), ("inactive", interval.end_s)]
    if session.active_since_s is not None:
        moments.append(("active", session.active_since_s))
    if session.closed_s is not None:
        moments.append(("closed", session.closed_s))
    return [{"status": status, "timestamp": time.stamp(at)} for status, at in moments]
