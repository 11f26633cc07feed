"""The run folder: made before the run, so that an unwritable place is known at once."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pyarrow as pa
from pydantic import ValidationError

from shotclock.bench.columns import UNSTATED, Origin
from shotclock.bench.record.rows import StepRow, read_table, write
from shotclock.bench.schema import Summary
from shotclock.domain import documents, encoding, files
from shotclock.domain.errors import MachineError, SettingsError

RECORDED_PACKAGES = ("numpy", "numba", "torch", "qiskit", "qiskit-ibm-runtime", "scipy")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where one run's files stand."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """A new or empty folder.

        Raises SettingsError when something is already in it, MachineError when it cannot be written.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise SettingsError(f"--out {path}: is not empty; name a new folder")
            probe = path / "summary.json"
            probe.touch()
            probe.unlink()
        except (FileExistsError, NotADirectoryError) as error:
            raise MachineError(f"--out {path}: {error.filename} is a file, not a folder") from error
        except OSError as error:
            raise MachineError(f"--out {path}: cannot write there: {error.strerror}") from error
        return cls(path)

    def discard_if_empty(self) -> None:
        """Removes the folder of a run that never began."""
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def write_settings(self, toml: str) -> None:
        """`config.lock.toml`: the settings in force; `bench --config` with it repeats the run."""
        files.write_text(self.path / "config.lock.toml", toml)

    def write_machine(self, environment: Mapping[str, str]) -> None:
        """`machine.json`."""
        text = json.dumps(dict(environment), indent=2)
        files.write_text(self.path / "machine.json", f"{text}\n")

    def write_beside(self, texts: Mapping[str, str]) -> None:
        """Further files, name to text."""
        for name, text in texts.items():
            files.write_text(self.path / name, text)

    def write_steps(self, steps: list[StepRow], origin: Origin = UNSTATED) -> None:
        """`steps.parquet`."""
        write(steps, self.path / "steps.parquet", origin)

    def write_summary(self, summary: Summary) -> None:
        """`summary.json`."""
        text = summary.model_dump_json(indent=2, by_alias=True)
        files.write_text(self.path / "summary.json", f"{text}\n")

    def read_summary(self) -> Summary:
        """summary.json; SettingsError when it is missing or not a summary of schema 1 or 2."""
        file = self.path / "summary.json"
        try:
            text = encoding.decode(files.read_regular(file, documents.MOST_BYTES))
            documents.parse_json(text)
            return Summary.model_validate_json(text)
        except OSError as error:
            raise SettingsError(f"{file}: not a run folder: {error.strerror}") from error
        except documents.DocumentError as error:
            raise SettingsError(f"{file}: {error}") from error
        except UnicodeError as error:
            raise SettingsError(f"{file}: cannot be read: {error}") from error
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise SettingsError(f"{file}: not a summary of schema 1 or 2: {key}: {first['msg']}") from error

    def read_steps(self) -> pa.Table:
        """steps.parquet; SettingsError when it cannot be read."""
        return read_table(self.path / "steps.parquet")


def environment() -> dict[str, str]:
    """What a figure depends on: results of different environments don't merge.

    host: distinguishes hosts; runs of equal machines still form one series in the history.
    """
    facts = {
        "host": platform.node(),
        "cpu": _cpu(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory_gib": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    return facts | {name: metadata.version(name) for name in RECORDED_PACKAGES}


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
