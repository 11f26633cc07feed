"""What a parquet file says about itself: a unit and a meaning for each column, and which run it is of."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FILE_SCHEMA = "1"
"""Version of the columns; it changes when one is renamed, or means something else."""
EMULATED, NOT_EMULATED = "EMULATED", "no"
_SUFFIXES = {"_ns": "ns", "_s": "s"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Which run a file is of.

    run_id: the run's; "" where it is not stated.
    emulated: begins with `EMULATED`, then names the emulated arms; "no" without any; "" where not stated.
    """

    run_id: str = ""
    emulated: str = ""


UNSTATED = Origin()


def mark_origin(run_id: str, *, emulated: bool, arms: tuple[str, ...] = ()) -> Origin:
    """The origin of a run's file; arms: the emulated ones, where the run has arms."""
    named = f"{EMULATED}: {', '.join(arms)}" if arms else EMULATED
    return Origin(run_id, named if emulated else NOT_EMULATED)


def meanings_of(record: type) -> dict[str, str]:
    """Each attribute's line in a record's docstring, continuations joined; {} without docstrings (-OO)."""
    meanings: dict[str, str] = {}
    name = ""
    for line in (inspect.getdoc(record) or "").splitlines()[1:]:
        head, colon, text = line.partition(": ")
        if line.startswith(" ") and name:
            meanings[name] += f" {line.strip()}"
        elif colon and head.isidentifier():
            name = head
            meanings[name] = text
    return meanings


def describe(schema: pa.Schema, meanings: Mapping[str, str], units: Mapping[str, str]) -> pa.Schema:
    """The schema with a unit and a description in each field's metadata.

    units: of columns whose name does not end in `_ns` or `_s`; "" of text, truth values and plain numbers.
    """
    fields = []
    for field in schema:
        suffix = field.name[field.name.rfind("_") :]
        unit = units.get(field.name, _SUFFIXES.get(suffix, ""))
        fields.append(field.with_metadata({"unit": unit, "description": meanings.get(field.name, "")}))
    return pa.schema(fields)


def sign(table: pa.Table, origin: Origin) -> pa.Table:
    """The table with its file's metadata: schema version, run, EMULATED, and the units as one JSON object."""
    units = {field.name: unit for field in table.schema if (unit := unit_of(field))}
    return table.replace_schema_metadata(
        {
            "schema_version": FILE_SCHEMA,
            "run_id": origin.run_id,
            "emulated": origin.emulated,
            "units": json.dumps(units),
        }
    )


def read_origin(path: Path) -> Origin:
    """What a file that `parquet.read_table` has accepted says; one without such metadata states nothing."""
    with path.open("rb") as file:  # Arrow itself opens no name that is not UTF-8
        metadata = pq.ParquetFile(file).schema_arrow.metadata or {}
    run_id, emulated = (
        metadata.get(key, b"").decode("utf-8", errors="replace") for key in (b"run_id", b"emulated")
    )
    return Origin(run_id, emulated)


def unit_of(field: pa.Field) -> str:
    """The unit in a field's metadata."""
    return str((field.metadata or {}).get(b"unit", b""), "utf-8")


def meaning_of(field: pa.Field) -> str:
    """The description in a field's metadata."""
    return str((field.metadata or {}).get(b"description", b""), "utf-8")
