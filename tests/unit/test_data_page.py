"""docs/data.md lists the columns of the parquet files as the files themselves do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shotclock.bench import columns
from shotclock.bench.load import records
from shotclock.bench.record import rows, samples

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
FILES = {"steps.parquet": rows.SCHEMA, "calls.parquet": records.SCHEMA, "samples.parquet": samples.SCHEMA}


def read_rows(file: str) -> list[tuple[str, ...]]:
    """The rows of a file's tables: column, type, unit, meaning; a row of STAGE stands for every stage."""
    (text,) = re.findall(
        rf"^## Columns of `{file}`$(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    cells = re.findall(r"^\| `(\w+)` \| (\w+) \| (\S+) \| (.*) \|$", text, re.MULTILINE)
    stages = [row for row in cells if row[0].startswith("STAGE_")]
    plain = [row for row in cells if row not in stages]
    return plain + [
        (row[0].replace("STAGE", stage), *row[1:]) for stage in rows.CALL_STAGES for row in stages
    ]


@pytest.mark.parametrize("file", FILES)
def test_page_and_schema_are_equal(file: str) -> None:
    described = [
        (field.name, str(field.type), columns.unit_of(field) or "–", columns.meaning_of(field))
        for field in FILES[file]
    ]
    assert described == read_rows(file)
    assert all(meaning for *_, meaning in described)
    assert all(b"unit" in (field.metadata or {}) for field in FILES[file])
    assert all(unit != "–" for _, kind, unit, _ in described if kind == "double")


def test_the_page_names_every_stage() -> None:
    assert all(f"`{stage}`" in PAGE.read_text("utf-8") for stage in rows.CALL_STAGES)


@pytest.mark.parametrize("write", [rows.write, records.write])
def test_a_file_says_run_mark_and_units(write: object, tmp_path: Path) -> None:
    assert callable(write)
    origin = columns.mark_origin("20261130-1", emulated=True, arms=("quantum-raw",))
    write([], tmp_path / "a.parquet", origin)
    assert columns.read_origin(tmp_path / "a.parquet") == origin
    assert origin.emulated == "EMULATED: quantum-raw"
    schema = pq.read_schema(tmp_path / "a.parquet")
    assert schema.metadata[b"schema_version"] == b"1"
    units = json.loads(schema.metadata[b"units"])
    assert units == {field.name: columns.unit_of(field) for field in schema if columns.unit_of(field)}
    assert units["qpu_s"] == "s"


def test_a_file_without_metadata_states_nothing(tmp_path: Path) -> None:
    pq.write_table(pa.table({"step": [0]}), tmp_path / "old.parquet")
    assert columns.read_origin(tmp_path / "old.parquet") == columns.Origin()
