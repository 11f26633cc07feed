"""Fits a latency profile to a site's job records; uses no QPU time.

A record holds when a job was created, ran and finished, and its usage. The queue time, created → running,
is fitted by a lognormal. A job's overhead is its usage minus the shots' time if the record holds that,
otherwise the smallest usage, which is an upper bound. Job records do not hold network and polling: the
profile lists them as not modelled.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from pydantic import ValidationError

from shotclock.domain import documents, encoding
from shotclock.domain.errors import SettingsError
from shotclock.emulator.figures import Z99
from shotclock.emulator.model_file import first_fault
from shotclock.emulator.profile import Profile

FEWEST = 20
"""Fewer records do not determine a 99th percentile."""
FIELDS = "created, running, finished, usage_s; shots_s is optional"
SHORTEST_S = 1e-6
LARGEST = 1e18
"""Of a number in a record: 30 years in nanoseconds."""
STAMPS = ("created", "running", "finished")


@dataclass(frozen=True, slots=True)
class Record:
    """One job, seconds. queued_s: created → running; usage_s: charged; shots_s: shooting time, or None."""

    queued_s: float
    usage_s: float
    shots_s: float | None = None

    @property
    def overhead_s(self) -> float | None:
        """The usage charged in addition to the shots."""
        return None if self.shots_s is None else max(self.usage_s - self.shots_s, SHORTEST_S)


def read(path: Path) -> tuple[Record, ...]:
    """Reads records from a JSON list (IBM's job metrics are accepted) or a CSV table.

    Raises SettingsError, which names file, record and field; skips jobs that never ran.
    """
    try:
        text = encoding.read_text(path)
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {encoding.explain(error)}") from error
    rows = _json_rows(path, text) if text.lstrip().startswith(("[", "{")) else _csv_rows(text)
    try:
        parsed = [_record(path, number, row) for number, row in enumerate(rows, start=1)]
    except csv.Error as error:
        raise SettingsError(f"{path}: malformed CSV: {error}") from error
    records = tuple(record for record in parsed if record is not None)
    if len(records) < FEWEST:
        raise SettingsError(f"{path}: {len(records)} jobs that ran; a profile needs at least {FEWEST}")
    return records


def fit_profile(records: Sequence[Record], name: str, source: str) -> Profile:
    """The fitted profile. source: the origin of the records; becomes the source of each number."""
    n = len(records)
    queue = [max(record.queued_s, SHORTEST_S) for record in records]
    overheads = [record.overhead_s for record in records if record.overhead_s is not None]
    document: dict[str, Any] = {
        "schema": 1,
        "name": name,
        "title": f"Fitted to {n} job records",
        "summary": f"Measured at this site: {source}. Network and polling are not in job records.",
        "execution_mode": "as in the records",
        "queue": _lognormal(queue, f"{source}: created to running of {n} jobs"),
    }
    if overheads:
        document["subjob_overhead"] = _lognormal(
            overheads, f"{source}: usage less shooting time of {len(overheads)} jobs"
        )
    else:
        least = min(record.usage_s for record in records)
        what = f"{source}: the smallest usage of {n} jobs, an upper bound of the overhead"
        document["subjob_overhead"] = {"kind": "constant", "value": _figure(least, what)}
    missing = {
        "link": "job records do not hold the network's round-trip time; measure it and add [link]",
        "poll_interval": "job records do not hold the client's polling interval",
        "submissions_per_minute": "job records do not hold the account's limit",
        "calibration": "job records include its waits in the queue time and do not show when it ran",
    }
    document["not_modelled"] = [
        {"component": component, "reason": reason} for component, reason in missing.items()
    ]
    try:
        return Profile.model_validate(document)
    except ValidationError as error:
        raise SettingsError(f"{source}: no profile fits them: {first_fault(error)}") from error


def toml_of(profile: Profile) -> str:
    """The profile as TOML text."""
    return tomli_w.dumps(profile.model_dump(by_alias=True, exclude_none=True))


def goodness(records: Sequence[Record], profile: Profile) -> float:
    """The Kolmogorov-Smirnov distance between the queue's records and its lognormal, 0 to 1."""
    if profile.queue is None or profile.queue.kind != "lognormal":
        return 0.0
    queue = np.sort([max(record.queued_s, SHORTEST_S) for record in records])
    deviations = (np.log(queue) - math.log(profile.queue.median.seconds)) / profile.queue.sigma
    model = np.array([statistics.NormalDist().cdf(float(deviation)) for deviation in deviations])
    steps = np.arange(len(queue) + 1) / len(queue)
    return float(max(np.abs(model - steps[:-1]).max(), np.abs(model - steps[1:]).max()))


def _lognormal(seconds: Sequence[float], source: str) -> dict[str, Any]:
    """A lognormal fitted by the median and by the logarithms' mean squared deviation from it."""
    logarithms = np.log(seconds)
    centre = float(np.median(logarithms))
    sigma = float(np.sqrt(np.mean((logarithms - centre) ** 2)))
    if sigma < 1e-6:
        return {"kind": "constant", "value": _figure(math.exp(centre), source)}
    return {
        "kind": "lognormal",
        "median": _figure(math.exp(centre), source),
        "p99": _figure(math.exp(centre + Z99 * sigma), f"{source}; p99 of the fitted lognormal"),
    }


def _figure(seconds: float, source: str) -> dict[str, Any]:
    return {"value": float(f"{seconds:.6g}"), "unit": "s", "tag": "measured", "source": source}


def _json_rows(path: Path, text: str) -> Iterable[Mapping[str, Any]]:
    try:
        document = documents.parse_json(text)
    except documents.DocumentError as error:
        raise SettingsError(f"{path}: {error}") from error
    rows = document.get("jobs", []) if isinstance(document, dict) else document
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SettingsError(f"{path}: expected a list of jobs, each with {FIELDS}")
    return rows


def _csv_rows(text: str) -> Iterable[Mapping[str, Any]]:
    return csv.DictReader(text.splitlines())


def _record(path: Path, number: int, row: Mapping[str, Any]) -> Record | None:
    """One row: flat fields, or `timestamps` and `usage` as GET /jobs/{id}/metrics gives them."""
    where = f"{path}: job {number}"
    stamps = row.get("timestamps") or row
    if not isinstance(stamps, Mapping):
        raise SettingsError(f"{where}: timestamps: must be a table of {', '.join(STAMPS)}")
    usage = row.get("usage")
    if isinstance(usage, Mapping):
        usage = usage.get("qpu_charge_time_seconds", usage.get("quantum_seconds"))
    elif usage is None:
        usage = row.get("usage_s")
    created, running, finished = (
        _moment(where, name, stamps.get(name)) for name in ("created", "running", "finished")
    )
    if created is None:
        raise SettingsError(f"{where}: has no `created`; a job needs {FIELDS}")
    if running is None or finished is None:
        return None  # cancelled before it ran
    used_s = _number(where, "usage_s", usage)
    if used_s is None:
        used_s = (finished - running).total_seconds()
    shots_s = _number(where, "shots_s", row.get("shots_s"))
    if shots_s is None and row.get("circuits_execution_time_ns"):
        shots_s = _number(where, "circuits_execution_time_ns", row["circuits_execution_time_ns"])
        shots_s = None if shots_s is None else shots_s * 1e-9
    queued_s = (running - created).total_seconds()
    if queued_s < 0.0 or used_s < 0.0:
        raise SettingsError(f"{where}: ran before it was created, or has a negative usage")
    return Record(queued_s, used_s, shots_s)


def _moment(where: str, name: str, value: object) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise SettingsError(f"{where}: {name}: {str(value)[:60]!r} is not an ISO 8601 time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # naive and aware times cannot be compared


def _number(where: str, name: str, value: object) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SettingsError(f"{where}: {name}: {str(value)[:60]!r} is not a number")
    if abs(number) > LARGEST:
        raise SettingsError(f"{where}: {name}: must be at most {LARGEST:g} (got {number:g})")
    return number
