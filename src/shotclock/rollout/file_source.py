"""A flag file as the source of flags."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shotclock.domain import files
from shotclock.domain.documents import MOST_SETTINGS_BYTES
from shotclock.domain.errors import MachineError, SettingsError

NO_FLAGS_SET = b'{"flags": {}}'


class FileSource:
    """Implements FlagSource. may_be_new: whether a missing file is one without flags."""

    kind = "file"
    description = "flag file"

    def __init__(self, path: Path, *, may_be_new: bool = False) -> None:
        self._path = path
        self._may_be_new = may_be_new
        self.name = str(path)

    def read(self) -> bytes:
        """See `FlagSource.read`."""
        try:
            return files.read_regular(self._path, MOST_SETTINGS_BYTES)
        except OSError as error:
            if self._may_be_new and not self._path.exists():
                return NO_FLAGS_SET
            raise SettingsError(f"{self._path}: cannot be read: {error.strerror}") from error

    def replace(self, edit: Callable[[bytes], str]) -> None:
        """See `FlagSource.replace`; other editors of this host wait meanwhile."""
        try:
            with _hold_folder(self._path.parent):
                files.write_text(self._path, edit(self.read()))
        except OSError as error:
            raise MachineError(f"{self._path}: cannot be written: {error.strerror}") from error


@contextmanager
def _hold_folder(folder: Path) -> Iterator[None]:
    """A lock on the folder, because the file itself is replaced."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
