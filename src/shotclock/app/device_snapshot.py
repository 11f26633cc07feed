"""Writes a device file from a back end that an account can use."""

from __future__ import annotations

import os
from pathlib import Path

import tomli_w

from shotclock.app.remote_providers import Access, spare_loopback
from shotclock.domain import files
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.emulator import device, snapshot
from shotclock.emulator.device_file import DeviceFile
from shotclock.providers import backend_documents
from shotclock.settings import QuantumSettings


def write_snapshot(quantum: QuantumSettings, backend: str, out: Path | None) -> tuple[Path, DeviceFile]:
    """Writes the back end's device file and, next to it, its documents; returns the file's path and contents.

    backend: "" is the least busy one
    out: None is the back end's name with .toml, in this folder

    Blocking, a few requests; submits nothing. Raises SettingsError, MachineError, ProviderError.
    """
    if out is not None and out.suffix != ".toml":
        raise SettingsError(f"--out {out}: must end in .toml")
    spare_loopback(os.environ)
    backend_files = backend_documents.fetch(Access.of(quantum).credentials(), backend)
    file = out or Path(f"{backend_files.name}.toml")
    documents = file.with_suffix(".json")
    parsed = snapshot.parse(backend_files.name, backend_files.configuration, backend_files.properties)
    described = device.assume_file(backend_files.name, parsed).model_copy(
        update={"documents": documents.name}
    )
    body = f'{{"configuration": {backend_files.configuration},\n"properties": {backend_files.properties}}}\n'
    try:
        files.write_text(documents, body)
        files.write_text(file, tomli_w.dumps(described.model_dump(by_alias=True, exclude_defaults=True)))
    except OSError as error:
        raise MachineError(f"{file}: cannot be written: {error.strerror}") from error
    return file, described
