"""The drills that exist: what each rehearses, how long it takes and what it needs. Read without imports."""

from __future__ import annotations

from dataclasses import dataclass

PROGRAMS = ("prometheus", "prometheus-alertmanager", "curl")


@dataclass(frozen=True, slots=True)
class DrillEntry:
    """A drill as `shotclock drill list` shows it.

    name: its name, and that of its runbook.
    alert: the alert that has to fire.
    summary: the fault that it causes.
    minutes: how long it takes at most, on two CPUs.
    scale: by how much the rules' windows and intervals are shortened.
    needs: the programs that must be installed.
    """

    name: str
    alert: str
    summary: str
    minutes: int
    scale: float = 60.0
    needs: tuple[str, ...] = PROGRAMS


ENTRIES = (
    DrillEntry(
        "budget-exhausted", "ShotclockBudgetLow", "Calls spend the cap of quantum.max_money_per_run.", 3
    ),
    DrillEntry(
        "canary-rolled-back",
        "ShotclockCanaryRolledBack",
        "The QPU of a canary's calls is behind a slower latency profile.",
        3,
    ),
    DrillEntry(
        "certificate-expiry",
        "ShotclockCertificateExpiry",
        "The service has a certificate that ends in a day.",
        2,
        needs=(*PROGRAMS, "openssl"),
    ),
    DrillEntry(
        "compile-storm",
        "ShotclockCompileStorm",
        "A client sends more sizes of subproblems than the cache holds.",
        5,
        10.0,
    ),
    DrillEntry(
        "deadlines-missed",
        "ShotclockErrorBudgetBurn",
        "The service's process is frozen for 3 s in every 4 s (SIGSTOP).",
        3,
    ),
    DrillEntry("ledger-stopped", "ShotclockLedgerStopped", "The ledger's disk is full (RLIMIT_FSIZE).", 3),
    DrillEntry(
        "memory-transfer",
        "ShotclockPathDegraded",
        "A port of the host's RDMA adapter counts errors, and the client's memory flips bits of messages.",
        3,
    ),
    DrillEntry(
        "parked-jobs",
        "ShotclockJobsParked",
        "The QPU's endpoint cuts the connection of every submit before it takes effect.",
        4,
    ),
    DrillEntry(
        "qpu-unresponsive",
        "ShotclockBreakerOpen",
        "The QPU's endpoint hangs (SIGSTOP); with the guarded hardware reset.",
        4,
        needs=(*PROGRAMS, "lsof"),
    ),
    DrillEntry("queue-length", "ShotclockCallsRefused", "A client floods the queue.", 3),
    DrillEntry("service-down", "ShotclockDown", "The service's process is killed (SIGKILL).", 2),
    DrillEntry(
        "stale-updates",
        "ShotclockStaleShare",
        "A trainer's steps are shorter than an answer takes; then protections off and on, on virtual time.",
        5,
    ),
    DrillEntry(
        "tail-latency",
        "ShotclockTailLatency",
        "The service's process is frozen for 2.5 s in every 7.5 s (SIGSTOP), as on a throttled host.",
        4,
        30.0,
    ),
)
BY_NAME = {entry.name: entry for entry in ENTRIES}
