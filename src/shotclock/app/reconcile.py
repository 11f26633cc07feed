"""Compares the accounts of paid jobs with Slurm's records and with the provider's usage."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shotclock.app.accounting import AccountRow, parse_instant
from shotclock.domain.errors import SettingsError

AGREE_S, AGREE_SHARE = 0.01, 0.01
"""Usages that differ by no more, seconds and share, are equal."""
EDGE_S = 60.0
"""How far outside its Slurm job a quantum job may lie: clocks differ, and a call outlives its process."""
NOT_YET = {"", "Unknown", "None", "N/A"}


@dataclass(frozen=True, slots=True)
class SlurmJob:
    """A job as `sacct` has it; "" and None are unknown.

    job: its id.
    user: who submitted it.
    account: the project.
    start_unix_s: Unix time in seconds.
    end_unix_s: None while it runs.
    """

    job: str
    user: str = ""
    account: str = ""
    start_unix_s: float | None = None
    end_unix_s: float | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing on which two records do not agree. kind: its sort; about: the job; text: for people."""

    kind: str
    about: str
    text: str


def read_sacct(text: str) -> dict[str, SlurmJob]:
    """Jobs by their ids, from `sacct --parsable2 --format=JobID,JobIDRaw,User,Account,Start,End`.

    Steps are left out. Raises SettingsError where the header has no JobID.
    """
    rows = list(csv.reader(io.StringIO(text), delimiter="|", quoting=csv.QUOTE_NONE))
    header = [name.strip() for name in rows[0]] if rows else []
    if "JobID" not in header:
        raise SettingsError(
            "--sacct: the first line must name JobID; "
            "run sacct --parsable2 --format=JobID,JobIDRaw,User,Account,Start,End"
        )
    jobs: dict[str, SlurmJob] = {}
    for number, cells in enumerate(rows[1:], 2):
        if len(cells) != len(header):
            raise SettingsError(f"--sacct:{number}: must have {len(header)} fields (got {len(cells)})")
        words = dict(zip(header, cells, strict=True))
        if "." in words["JobID"]:
            continue
        start, end = (_instant(number, words.get(name, "")) for name in ("Start", "End"))
        for name in {words["JobID"], words.get("JobIDRaw", "")} - {""}:
            jobs[name] = SlurmJob(name, words.get("User", ""), words.get("Account", ""), start, end)
    return jobs


def _instant(number: int, text: str) -> float | None:
    """Seconds since 1970 (SLURM_TIME_FORMAT=%s), or this host's local time, as sacct prints it."""
    if text in NOT_YET:
        return None
    if text.isdigit():
        return float(text)
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise SettingsError(f"--sacct:{number}: not an instant (got {text[:40]!r})") from error


def read_usage(text: str) -> dict[str, float]:
    """QPU seconds by the provider's job id: CSV with `job_id` and `usage_s`, or a JSON list of such objects.

    Raises SettingsError.
    """
    try:
        rows: Sequence[Any] = (
            json.loads(text) if text.lstrip().startswith("[") else list(csv.DictReader(io.StringIO(text)))
        )
        usage = {str(row["job_id"]): float(row["usage_s"]) for row in rows}
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise SettingsError(
            "--usage: must be CSV with the columns job_id and usage_s, or a JSON list of objects with both"
        ) from error
    for job_id, seconds in usage.items():
        if not math.isfinite(seconds) or seconds < 0:
            raise SettingsError(f"--usage: usage_s of {job_id[:80]!r} must be 0 or more (got {seconds:g})")
    return usage


def compare_with_slurm(rows: Iterable[AccountRow], jobs: dict[str, SlurmJob]) -> Iterator[Difference]:
    """What Slurm does not know, or says otherwise, each once a job and label."""
    listed = set()
    for row in rows:
        if row.slurm_job_id is None:
            yield Difference("no_slurm_job", row.tag, f"{_name(row)} names no Slurm job")
            continue
        for difference in _compare_job(row, jobs.get(row.slurm_job_id)):
            if difference not in listed:
                listed.add(difference)
                yield difference


def _compare_job(row: AccountRow, job: SlurmJob | None) -> Iterator[Difference]:
    about = str(row.slurm_job_id)
    if job is None:
        yield Difference("unknown_to_slurm", about, f"Slurm job {about} of {_name(row)} is not in sacct")
        return
    for kind, claimed, recorded in (
        ("user", row.slurm_user, job.user),
        ("account", row.slurm_account, job.account),
    ):
        if claimed is not None and recorded and claimed != recorded:
            text = f"Slurm job {about}: the caller said {kind} {claimed}, sacct says {recorded}"
            yield Difference(f"other_{kind}", about, text)
    if row.created is None:
        return
    created_s = parse_instant("created", row.created)
    ended_s = math.inf if job.end_unix_s is None else job.end_unix_s
    started_s = -math.inf if job.start_unix_s is None else job.start_unix_s
    if not started_s - EDGE_S <= created_s <= ended_s + EDGE_S:
        text = f"{row.tag} was created at {row.created}, outside the time of Slurm job {about}"
        yield Difference("outside_slurm_job", about, text)


def compare_with_usage(rows: Iterable[AccountRow], usage: dict[str, float]) -> Iterator[Difference]:
    """Jobs that only one side knows, and usages that differ."""
    seconds: dict[str, float | None] = {}
    for row in rows:
        if row.job_id is not None:
            before = seconds.get(row.job_id, 0.0)
            own = row.usage_qpu_seconds
            seconds[row.job_id] = None if before is None or own is None else before + own
    for job_id, own_s in seconds.items():
        if job_id not in usage:
            yield Difference("unknown_to_provider", job_id, f"job {job_id} is not in the provider's usage")
        elif own_s is None:
            text = f"job {job_id}: the ledger knows no usage, the provider says {usage[job_id]:g} s"
            yield Difference("usage_unknown", job_id, text)
        elif not math.isclose(own_s, usage[job_id], rel_tol=AGREE_SHARE, abs_tol=AGREE_S):
            text = f"job {job_id}: the ledger has {own_s:g} s, the provider says {usage[job_id]:g} s"
            yield Difference("other_usage", job_id, text)
    for job_id, used_s in usage.items():
        if job_id not in seconds:
            text = f"job {job_id} of {used_s:g} s is not in this ledger"
            yield Difference("unknown_to_ledger", job_id, text)


def _name(row: AccountRow) -> str:
    return f"{row.tag} (request {row.request_id})" if row.request_id else row.tag
