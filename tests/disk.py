"""A disk under SQLite with faults on demand: it fails, tears a write, stalls, loses power."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import apsw

_numbers = itertools.count()

EIO_ON_SYNC = apsw.SQLITE_IOERR_FSYNC
EIO_ON_WRITE = apsw.SQLITE_IOERR_WRITE
FULL = apsw.SQLITE_FULL


class Disk(apsw.VFS):
    """A VFS over the real one. `syncs` counts by file suffix ("" is the database itself).

    sync_fault, write_fault: asked at every sync and write with the suffix; they raise, or return: of a
    write, how many of its bytes reach the file before an I/O error, or all of them.
    """

    def __init__(self) -> None:
        self.name = f"disk-{next(_numbers)}"
        self.syncs: Counter[str] = Counter()
        self.writes: Counter[str] = Counter()
        self.sync_fault: Callable[[str], None] = lambda suffix: None
        self.write_fault: Callable[[str, int], int] = lambda suffix, size: size
        self.readonly = False
        self.synced: dict[str, bytes] = {}
        super().__init__(self.name, "unix")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        assert name is not None  # nothing of the ledger is a temporary file
        opened = _File(self, name, flags)
        if self.readonly:
            flags[1] = flags[1] & ~apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_READONLY
        return opened

    def xDelete(self, name: str, sync_folder: bool) -> None:  # noqa: N802
        super().xDelete(name, sync_folder)
        self.synced.pop(_suffix(name), None)

    def after_a_power_cut(self, folder: Path) -> Path:
        """The ledger as only its synced bytes make it, in another folder."""
        folder.mkdir()
        for suffix, content in self.synced.items():
            (folder / f"ledger.db{suffix}").write_bytes(content)
        return folder / "ledger.db"


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename, flags: list[int]) -> None:
        self._disk = disk
        self._suffix = _suffix(name if isinstance(name, str) else name.filename())
        super().__init__("unix", name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.syncs[self._suffix] += 1
        self._disk.sync_fault(self._suffix)
        super().xSync(flags)
        # through SQLite's own handle: closing another one would drop the process's locks on the file
        self._disk.synced[self._suffix] = super().xRead(super().xFileSize(), 0)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.writes[self._suffix] += 1
        reaches = self._disk.write_fault(self._suffix, len(data))
        super().xWrite(data[:reaches], offset)
        if reaches < len(data):
            raise fault(EIO_ON_WRITE)


def _suffix(name: str) -> str:
    return Path(name).name.removeprefix("ledger.db")


def fault(code: int) -> Exception:
    """The error SQLite makes of a result code."""
    return apsw.exception_for(code)


class Gate:
    """A sync fault that blocks every sync until it is opened; `wait_reached` returns when one is blocked."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    def __call__(self, suffix: str) -> None:
        self.reached.set()
        assert self._open.wait(30)
