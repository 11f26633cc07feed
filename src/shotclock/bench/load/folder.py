"""What a load test leaves behind: load.json, calls.parquet, machine.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from shotclock.bench.columns import mark_origin
from shotclock.bench.load.records import CallRecord, read, write
from shotclock.bench.load.schema import LoadSummary
from shotclock.domain import documents, encoding, files
from shotclock.domain.errors import MachineError, SettingsError

SUMMARY = "load.json"
CALLS = "calls.parquet"


def write_load(summary: LoadSummary, calls: Sequence[CallRecord], path: Path) -> None:
    """Writes the folder's files; MachineError where that cannot be done."""
    try:
        text = summary.model_dump_json(indent=2, by_alias=True)
        files.write_text(path / SUMMARY, f"{text}\n")
        machine = json.dumps(summary.environment, indent=2)
        files.write_text(path / "machine.json", f"{machine}\n")
        write(calls, path / CALLS, mark_origin(summary.run_id, emulated=summary.emulated))
    except OSError as error:
        raise MachineError(f"{path}: cannot write the load test: {error.strerror or error}") from error


def read_load(path: Path) -> LoadSummary:
    """load.json; SettingsError where it is not there or of another schema."""
    file = path / SUMMARY
    try:
        text = encoding.decode(files.read_regular(file, documents.MOST_BYTES))
        documents.parse_json(text)
        return LoadSummary.model_validate_json(text)
    except OSError as error:
        raise SettingsError(f"{file}: not a load test's folder: {error.strerror}") from error
    except UnicodeError as error:
        raise SettingsError(f"{file}: cannot be read: {error}") from error
    except documents.DocumentError as error:
        raise SettingsError(f"{file}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{file}: not a load test of schema 1: {key}: {first['msg']}") from error


def read_calls(path: Path) -> list[CallRecord]:
    """calls.parquet; SettingsError where it cannot be read."""
    return read(path / CALLS)
