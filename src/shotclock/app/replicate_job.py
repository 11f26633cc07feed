"""A replicate as it travels to the host that runs it, and the files of a run of replicates."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from shotclock.bench.frozen import Frozen
from shotclock.bench.judge.replicates import Replicate
from shotclock.bench.replication import LostExecution
from shotclock.domain import documents, files
from shotclock.domain.errors import RunError, SettingsError

FOLDER, RUN = "replicates", "run.json"
_LOSSES = TypeAdapter(tuple[LostExecution, ...])


class ReplicateJob(Frozen):
    """One execution of a replicate, for another process.

    settings: of the run, TOML
    seed: its number
    validation: whether another host has run it before
    clock, quick: of the run
    tls: paths of certificate, key and authorities, which every host needs; empty without TLS
    budget: under which its ledger counts the money of each paid arm
    """

    settings: str
    seed: int
    validation: bool
    clock: Literal["wall", "virtual"]
    quick: bool
    tls: tuple[str, ...] = ()
    budget: str = ""

    @property
    def name(self) -> str:
        """Of its task and files."""
        return name_execution(self.seed, validation=self.validation)


def name_execution(seed: int, *, validation: bool) -> str:
    """As in `seed-003` and `seed-003-validation`."""
    return f"seed-{seed:03d}{'-validation' if validation else ''}"


@dataclass(frozen=True, slots=True)
class ReplicateStore:
    """`replicates/` of a run folder: `run.json`, `losses.json`, and a file for each finished execution."""

    path: Path

    @classmethod
    def of(cls, run: Path) -> ReplicateStore:
        """That of a run folder."""
        return cls(run / FOLDER)

    def create(self, settings: str, clock: str, quick: bool) -> None:
        """Writes what a resumed run must equal. Raises OSError."""
        files.make_folder(self.path)
        budget = f"run-{os.urandom(8).hex()}"
        document = {"schema": 1, "settings": settings, "clock": clock, "quick": quick, "budget": budget}
        files.write_text(self.path / RUN, json.dumps(document, indent=2))
        files.write_text(self.path / "settings.toml", settings)

    def find_settings(self) -> Path:
        """The settings file of the run. Raises SettingsError where no engine ran there."""
        self.read_run()
        return self.path / "settings.toml"

    def read_budget(self) -> str:
        """The name of its money budget; "" of a run from before 2026-11-30. Raises SettingsError."""
        return str(self._read_document().get("budget", ""))

    def read_run(self) -> tuple[str, Literal["wall", "virtual"], bool]:
        """The settings, the clock and quick. Raises SettingsError where no engine ran there."""
        document = self._read_document()
        settings, clock, quick = (document.get(key) for key in ("settings", "clock", "quick"))
        if clock not in {"wall", "virtual"} or not isinstance(settings, str) or not isinstance(quick, bool):
            raise SettingsError(
                f"--resume {self.path.parent}: {self.path / RUN} was not written by `shotclock bench`"
            )
        return settings, clock, quick

    def _read_document(self) -> dict[str, Any]:
        try:
            document = documents.parse_json(files.read_regular(self.path / RUN, documents.MOST_BYTES))
        except (OSError, documents.DocumentError) as error:
            raise SettingsError(
                f"--resume {self.path.parent}: was not begun by an engine: {RUN} cannot be read; name the "
                f"folder of a run with --engine ray or slurm"
            ) from error
        if not isinstance(document, dict):
            raise SettingsError(
                f"--resume {self.path.parent}: {self.path / RUN} was not written by `shotclock bench`"
            )
        return document

    def keep(self, name: str, content: bytes) -> Replicate:
        """Writes a result, whole or not at all. Raises RunError on one that is not a replicate's."""
        try:
            replicate = Replicate.model_validate_json(content)
        except ValidationError as error:
            raise RunError(f"{name}: its result is not a replicate's: {error.errors()[0]['msg']}") from error
        files.write_bytes(self.path / f"{name}.json", content)
        return replicate

    def read(self, name: str) -> Replicate | None:
        """A kept result; None without one. Raises SettingsError where it is damaged."""
        file = self.path / f"{name}.json"
        if not file.is_file():
            return None
        try:
            return Replicate.model_validate_json(files.read_regular(file, 512 * files.MIB))
        except (OSError, ValidationError) as error:
            raise SettingsError(f"{file}: cannot be read; remove it, and it runs again") from error

    def read_losses(self) -> tuple[LostExecution, ...]:
        """Those so far. Raises SettingsError where the file is damaged."""
        file = self.path / "losses.json"
        if not file.is_file():
            return ()
        try:
            return _LOSSES.validate_json(files.read_regular(file, documents.MOST_BYTES))
        except (OSError, ValidationError) as error:
            raise SettingsError(f"{file}: cannot be read; remove it, and its losses are not named") from error

    def write_losses(self, losses: tuple[LostExecution, ...]) -> None:
        """All of them."""
        files.write_bytes(self.path / "losses.json", _LOSSES.dump_json(losses, indent=2))
