"""The legal state changes of a paid job's record."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shotclock.domain.ledger import NEXT_STATES, JobRecord, LedgerError, LedgerState


@dataclass(frozen=True, slots=True)
class Transition:
    """One line of the audit trail.

    tag: the record's tag.
    before: the state before; INTENT on a record's first line.
    after: the state after.
    job_id: the provider's id of the job, "" before the submit.
    note: why.
    at_unix_s: wall time, seconds.
    """

    tag: str
    before: LedgerState
    after: LedgerState
    job_id: str
    note: str
    at_unix_s: float


class LedgerBusyError(LedgerError):
    """The ledger works but is too far behind to accept an intent now: nothing was recorded."""


class LanesBusyError(LedgerBusyError):
    """The replicas that share the ledger use every lane of the provider: nothing was recorded."""


class AdoptedError(LedgerError):
    """Another replica has taken the job over, so that its record is no longer this one's to write."""


def begin(record: JobRecord, at_unix_s: float) -> JobRecord:
    """The record of a new intent, dated. Raises LedgerError if it is not a new intent."""
    if not record.tag or not record.tag.isprintable():
        raise LedgerError(f"the tag must be printable, so that it can be searched for (got {record.tag!r})")
    if record.state is not LedgerState.INTENT or record.job_id:
        raise LedgerError(f"{record.tag} must begin as an intent without a job id (got {record.state})")
    return replace(record, note=_one_line(record.note), changed_unix_s=at_unix_s)


def move(record: JobRecord, state: LedgerState, job_id: str, note: str, at_unix_s: float) -> JobRecord:
    """The record in its next state. Raises LedgerError on a move that `NEXT_STATES` does not allow.

    job_id "" keeps the known one; the note is reduced to one printable line.
    """
    if state not in NEXT_STATES[record.state]:
        raise explain_illegal(record, state)
    accepted_id = job_id or record.job_id
    if state is LedgerState.SUBMITTED and not accepted_id:
        raise LedgerError(f"{record.tag} cannot become submitted without the provider's job id")
    if not accepted_id.isprintable():
        raise LedgerError(f"{record.tag}: the job id must be printable (got {accepted_id!r})")
    return replace(record, state=state, job_id=accepted_id, note=_one_line(note), changed_unix_s=at_unix_s)


def explain_illegal(record: JobRecord, state: LedgerState) -> LedgerError:
    """The error for a move that `NEXT_STATES` does not allow."""
    return LedgerError(f"{record.tag} is {record.state}: it cannot become {state}")


def explain_unknown_tag(tag: str) -> LedgerError:
    """The error for a tag that no record has."""
    return LedgerError(f"no job {tag} in the ledger")


def explain_taken_tag(tag: str) -> LedgerError:
    """The error for an intent under a tag that has been used."""
    return LedgerError(f"{tag} is in the ledger already: a tag may be used only once")


def _one_line(text: str) -> str:
    """The text without control characters, which a provider may send but a terminal must not show."""
    return "".join(character if character.isprintable() else " " for character in text)
