"""An append-only log of decisions on a model, and the checks of its consistency."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from shotclock.domain import files
from shotclock.domain.errors import MachineError
from shotclock.domain.outcome import Decision, Winner

WRITES = frozenset({Decision.APPLIED, Decision.REVALIDATED})


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One decision.

    request_id: the request it decided on.
    decision: what was decided.
    winner: who found the answer.
    base_version: the version the answer was computed on.
    seen_version: the version it was decided on.
    version: the version after the decision.
    """

    request_id: str
    decision: Decision
    winner: Winner
    base_version: int
    seen_version: int
    version: int


class Audit(Protocol):
    """Receives entries in the order of the decisions; called with the aggregator's lock held."""

    def append(self, entry: AuditEntry) -> None:
        """Adds one entry at the end."""


class NoAudit:
    """Discards entries."""

    def append(self, entry: AuditEntry) -> None:
        """See `Audit.append`."""
        del entry


NO_AUDIT = NoAudit()


class AuditFile:
    """Appends one line of JSON per entry to a file; raises MachineError if it cannot be written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, entry: AuditEntry) -> None:
        """See `Audit.append`."""
        try:
            with files.append(self._path) as file:
                file.write(f"{json.dumps(asdict(entry))}\n".encode())
        except OSError as error:
            reason = error.strerror or str(error)
            raise MachineError(f"{self._path}: cannot write the audit log: {reason}") from error

    def entries(self) -> list[AuditEntry]:
        """The entries written so far."""
        lines = self._path.read_text(encoding="utf-8").splitlines()
        return [_entry(json.loads(line)) for line in lines]


def find_violations(entries: Iterable[AuditEntry]) -> list[str]:
    """Where the log contradicts a single order of versions, each written at most once; empty if nowhere.

    A write must produce exactly the version after the one it was decided on, and no entry may see an older
    version than an earlier entry left.
    """
    violations = []
    latest = 0
    for number, entry in enumerate(entries):
        where = f"entry {number} ({entry.request_id}, {entry.decision})"
        if entry.decision in WRITES and entry.version != entry.seen_version + 1:
            violations.append(f"{where}: wrote version {entry.version} over {entry.seen_version}")
        if entry.decision in WRITES and entry.seen_version < latest:
            violations.append(f"{where}: wrote over {entry.seen_version} when {latest} was there")
        if entry.base_version > entry.seen_version:
            violations.append(f"{where}: computed on {entry.base_version}, decided on {entry.seen_version}")
        if entry.version < latest:
            violations.append(f"{where}: left version {entry.version} after {latest}")
        latest = max(latest, entry.version)
    return violations


def _entry(values: dict[str, str | int]) -> AuditEntry:
    return AuditEntry(
        str(values["request_id"]),
        Decision(str(values["decision"])),
        Winner(str(values["winner"])),
        int(values["base_version"]),
        int(values["seen_version"]),
        int(values["version"]),
    )
