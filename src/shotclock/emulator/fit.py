"""A latency profile from a site's own job records; costs no QPU time.

A record says when a job was created, ran and finished, and what it used. The queue is created → running
and becomes a lognormal; the overhead of a job is its usage less the shots' own time where the record
tells it, else the smallest usage seen, which is no less. Network and polling are not in such records:
they are left out and named, or taken from another profile.
"""

from __future__ import annotations

import csv
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from shotclock.domain import encoding
from shotclock.domain.errors import SettingsError
from shotclock.emulator.figures import Z99
from shotclock.emulator.profile import Profile

FEWEST = 20
"""With fewer records a 99th percentile is a guess."""
FIELDS = "created, running, finished, usage_s; shots_s is optional"
SHORTEST_S = 1e-6
STAMPS = ("created", "running", "finished")


@dataclass(frozen=True, slots=True)
class Record:
    """One job, seconds. queued_s: created → running; usage_s: charged; shots_s: of it shooting, or None."""

    queued_s: float
    usage_s: float
    shots_s: float | None = None

    @property
    def overhead_s(self) -> float | None:
        """What was charged besides the shots."""
        return None if self.shots_s is None else max(self.usage_s - self.shots_s, SHORTEST_S)


def read(path: Path) -> tuple[Record, ...]:
    """Records of a JSON list or a CSV table; IBM's job metrics are taken as they are.

    Raises SettingsError naming file, record and field; jobs that never ran are left out.
    """
    try:
        text = encoding.read_text(path)
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {encoding.explain(error)}") from error
    rows = _json_rows(path, text) if text.lstrip().startswith(("[", "{")) else _csv_rows(text)
    found = [_record(path, number, row) for number, row in enumerate(rows, start=1)]
    records = tuple(one for one in found if one is not None)
    if len(records) < FEWEST:
        raise SettingsError(f"{path}: {len(records)} jobs that ran; a profile wants at least {FEWEST}")
    return records


def fit_profile(records: Sequence[Record], name: str, source: str) -> Profile:
    """The profile. source: where the records are from, as it will stand beside each number."""
    n = len(records)
    queue = [max(one.queued_s, SHORTEST_S) for one in records]
    overheads = [one.overhead_s for one in records if one.overhead_s is not None]
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
        least = min(one.usage_s for one in records)
        what = f"{source}: the smallest usage of {n} jobs, an upper bound of the overhead"
        document["subjob_overhead"] = {"kind": "constant", "value": _figure(least, what)}
    missing = {
        "link": "a job's records do not tell the network's round trip; measure it and add [link]",
        "poll_interval": "a job's records do not tell how its owner waited",
        "submissions_per_minute": "a job's records do not tell the account's limit",
        "calibration": "job records hold its waits in the queue's, and do not tell when it ran",
    }
    document["not_modelled"] = [
        {"component": component, "reason": reason} for component, reason in missing.items()
    ]
    return Profile.model_validate(document)


def toml_of(profile: Profile) -> str:
    """The profile's file."""
    return tomli_w.dumps(profile.model_dump(by_alias=True, exclude_none=True))


def goodness(records: Sequence[Record], profile: Profile) -> float:
    """Kolmogorov's distance between the queue's records and its lognormal, 0 to 1."""
    if profile.queue is None or profile.queue.kind != "lognormal":
        return 0.0
    queue = np.sort([max(one.queued_s, SHORTEST_S) for one in records])
    deviations = (np.log(queue) - math.log(profile.queue.median.seconds)) / profile.queue.sigma
    model = np.array([statistics.NormalDist().cdf(float(one)) for one in deviations])
    steps = np.arange(len(queue) + 1) / len(queue)
    return float(max(np.abs(model - steps[:-1]).max(), np.abs(model - steps[1:]).max()))


def _lognormal(seconds: Sequence[float], source: str) -> dict[str, Any]:
    """By the median and the mean squared deviation of the logarithms from it."""
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
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(f"{path}: malformed JSON at line {error.lineno}") from error
    rows = document.get("jobs", []) if isinstance(document, dict) else document
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SettingsError(f"{path}: wants a list of jobs, each with {FIELDS}")
    return rows


def _csv_rows(text: str) -> Iterable[Mapping[str, Any]]:
    return csv.DictReader(text.splitlines())


def _record(path: Path, number: int, row: Mapping[str, Any]) -> Record | None:
    """One row: flat fields, or `timestamps` and `usage` as GET /jobs/{id}/metrics gives them."""
    where = f"{path}: job {number}"
    stamps = row.get("timestamps") or row
    usage = row.get("usage")
    if isinstance(usage, Mapping):
        usage = usage.get("qpu_charge_time_seconds", usage.get("quantum_seconds"))
    elif usage is None:
        usage = row.get("usage_s")
    created, running, finished = (
        _moment(where, name, stamps.get(name)) for name in ("created", "running", "finished")
    )
    if created is None:
        raise SettingsError(f"{where}: has no `created`; wants {FIELDS}")
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
        raise SettingsError(f"{where}: ran before it was created, or used less than nothing")
    return Record(queued_s, used_s, shots_s)


def _moment(where: str, name: str, value: object) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise SettingsError(f"{where}: {name}: {value!r} is no ISO 8601 time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # else the others could not be compared


def _number(where: str, name: str, value: object) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SettingsError(f"{where}: {name}: {value!r} is no number")
    return number
