"""The accounts of paid jobs as rows for a site's accounting: one a call, in the fields of QRMI's proposal.

QRMI's accounting data (qrmi#53, qrmi#99): the batch system's job, the resource, when the quantum job was
created, ran and ended, by user and project, its usage and its charge. What is not known is None, never 0.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from shotclock.domain import files
from shotclock.domain.accounting import AccountEntry, CallAccount
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.domain.ledger import JobRecord
from shotclock.orchestrator.ledger.places import LedgerPlace

ACTED_ON = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes text that begins so for a formula."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRow:
    """A call's part in a paid job.

    slurm_job_id: as the caller's environment said, like account and user: a claim, not a proof.
    slurm_account: the project that is charged.
    slurm_user: who submitted the Slurm job.
    caller: the name in the caller's certificate.
    request_id: the caller's name for the call.
    job_id: the provider's.
    tag: ours, submitted with the job.
    provider: the provider's name.
    acquisition_id: the lease or session that the job ran in.
    resource_id: the device.
    created: when the job was intended, ISO 8601 in UTC.
    running: when the QPU began.
    finished: when it ended.
    outcome: the record's state in the ledger.
    circuits: of this call.
    shots: of each circuit.
    usage_qpu_seconds: this call's share of what the job was charged.
    reserved_qpu_seconds: its share of the estimate that the budget reserved.
    charge: the price of the usage.
    currency: of the charge.
    """

    slurm_job_id: str | None = None
    slurm_account: str | None = None
    slurm_user: str | None = None
    caller: str | None = None
    request_id: str | None = None
    job_id: str | None = None
    tag: str
    provider: str
    acquisition_id: str | None = None
    resource_id: str | None = None
    created: str | None = None
    running: str | None = None
    finished: str | None = None
    outcome: str
    circuits: int | None = None
    shots: int
    usage_qpu_seconds: float | None = None
    reserved_qpu_seconds: float | None = None
    charge: float | None = None
    currency: str | None = None


COLUMNS = tuple(field.name for field in fields(AccountRow))


def read_rows(place: LedgerPlace, since_unix_s: float, until_unix_s: float) -> list[AccountRow]:
    """A row for each call of the jobs intended from one instant to before the other, the oldest first.

    Jobs of older versions have no account: they are counted by their last change, with what is known.
    """
    records = {record.tag: record for record in place.read_jobs()}
    accounts = place.read_accounts(0.0, float("inf"))
    tags = {entry.tag for entry in accounts}
    rows = [
        _row(records[entry.tag], entry, call)
        for entry in accounts
        if entry.tag in records and since_unix_s <= entry.intended_unix_s < until_unix_s
        for call in entry.account.calls
    ]
    without = [
        AccountRow(
            request_id=request or None,
            job_id=record.job_id or None,
            tag=record.tag,
            provider=record.provider,
            outcome=str(record.state),
            shots=record.shots,
        )
        for record in records.values()
        if record.tag not in tags and since_unix_s <= record.changed_unix_s < until_unix_s
        for request in record.requests
    ]
    return [*without, *rows]


def _row(record: JobRecord, entry: AccountEntry, call: CallAccount) -> AccountRow:
    allocation = call.origin.allocation
    share = call.circuits / sum(each.circuits for each in entry.account.calls)
    used_s, estimate_s = entry.used_s, entry.account.estimate_s
    return AccountRow(
        slurm_job_id=allocation.job or None,
        slurm_account=allocation.account or None,
        slurm_user=allocation.user or None,
        caller=call.caller or None,
        request_id=call.request_id or None,
        job_id=record.job_id or None,
        tag=record.tag,
        provider=record.provider,
        acquisition_id=entry.acquisition or None,
        resource_id=entry.resource or None,
        created=_show(entry.intended_unix_s),
        running=_show(entry.began_unix_s),
        finished=_show(entry.ended_unix_s),
        outcome=str(record.state),
        circuits=call.circuits,
        shots=record.shots,
        usage_qpu_seconds=None if used_s is None else share * used_s,
        reserved_qpu_seconds=None if estimate_s is None else share * estimate_s,
        charge=None if used_s is None else share * used_s * entry.price_per_s,
        currency=entry.currency,
    )


def _show(unix_s: float | None) -> str | None:
    return None if unix_s is None else datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")


def parse_instant(option: str, text: str) -> float:
    """Unix time of an ISO 8601 date or instant, UTC unless it says otherwise. Raises SettingsError."""
    try:
        instant = datetime.fromisoformat(text)
        aware = instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
        return aware.timestamp()
    except (ValueError, OverflowError) as error:
        raise SettingsError(
            f"{option}: must be a date or an instant of ISO 8601, such as 2026-12-01 (got {text[:40]!r})"
        ) from error


def to_csv(rows: Iterable[AccountRow]) -> str:
    """With a header; what is unknown is an empty cell. Text that a spreadsheet would run begins with a '."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(getattr(row, name)) for name in COLUMNS])
    return text.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return "" if value is None else value
    shown = "".join(letter if letter.isprintable() else " " for letter in value)
    return f"'{shown}" if shown.startswith(ACTED_ON) else shown


def to_json(rows: Iterable[AccountRow]) -> str:
    """A list of objects; what is unknown is null."""
    return json.dumps([asdict(row) for row in rows], indent=2, allow_nan=False)


def write_parquet(rows: Iterable[AccountRow], path: Path) -> None:
    """The rows as a Parquet file, whole or not at all. Raises MachineError where it cannot be written."""
    import pyarrow as pa  # noqa: PLC0415 - a second to import, which the other formats need not wait for
    import pyarrow.parquet as pq  # noqa: PLC0415

    kinds = {"shots": pa.int64(), "circuits": pa.int64()}
    kinds |= dict.fromkeys(("usage_qpu_seconds", "reserved_qpu_seconds", "charge"), pa.float64())
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    try:
        with files.replace(path) as file:
            pq.write_table(pa.Table.from_pylist([asdict(row) for row in rows], schema=schema), file)
    except OSError as error:
        raise MachineError(f"cannot write {path}: {error.strerror}") from error
