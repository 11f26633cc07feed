"""The order in which a model was changed: an append-only record, and what must hold of it."""

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
class Entry:
    """One decision: the version the answer was computed on, the one it was decided on, the one after it."""

    request_id: str
    decision: Decision
    winner: Winner
    base_version: int
    seen_version: int
    version: int


class Audit(Protocol):
    """Takes entries in the order of the decisions; called with the aggregator's lock held."""

    def append(self, entry: Entry) -> None:
        """Adds one entry at the end."""


class NoAudit:
    """Keeps nothing."""

    def append(self, entry: Entry) -> None:
        """See `Audit.append`."""
        del entry


NO_AUDIT = NoAudit()


class AuditFile:
    """A line of JSON an entry, at the end of a file; MachineError where it cannot be written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, entry: Entry) -> None:
        """See `Audit.append`."""
        try:
            with files.append(self._path) as file:
                file.write(f"{json.dumps(asdict(entry))}\n".encode())
        except OSError as error:
            reason = error.strerror or str(error)
            raise MachineError(f"{self._path}: cannot write the audit log: {reason}") from error

    def entries(self) -> list[Entry]:
        """What has been written so far."""
        lines = self._path.read_text(encoding="utf-8").splitlines()
        return [_entry(json.loads(line)) for line in lines]


def violations(entries: Iterable[Entry]) -> list[str]:
    """What contradicts one order of versions, each applied at most once; empty where all is well.

    A write must make exactly the version after the one it was decided on, and no entry may see an older
    version than an earlier one left.
    """
    found = []
    latest = 0
    for number, entry in enumerate(entries):
        where = f"entry {number} ({entry.request_id}, {entry.decision})"
        if entry.decision in WRITES and entry.version != entry.seen_version + 1:
            found.append(f"{where}: wrote version {entry.version} over {entry.seen_version}")
        if entry.decision in WRITES and entry.seen_version < latest:
            found.append(f"{where}: wrote over {entry.seen_version} when {latest} was there")
        if entry.base_version > entry.seen_version:
            found.append(f"{where}: computed on {entry.base_version}, decided on {entry.seen_version}")
        if entry.version < latest:
            found.append(f"{where}: left version {entry.version} after {latest}")
        latest = max(latest, entry.version)
    return found


def _entry(values: dict[str, str | int]) -> Entry:
    return Entry(
        str(values["request_id"]),
        Decision(str(values["decision"])),
        Winner(str(values["winner"])),
        int(values["base_version"]),
        int(values["seen_version"]),
        int(values["version"]),
    )
