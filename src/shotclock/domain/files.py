"""Files: written without following a link, whole or not at all, and read within a limit.

A folder from elsewhere may hold `report.html` as a link to a file of the user's; whoever writes a report
there replaces the link and leaves its target alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MIB = 1 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def replace(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` once it is whole; on an error, `path` stays as it was.

    A link there is replaced, not followed. mode: of a new file, less the umask; an existing one keeps its
    own. Raises OSError, also where `path` is a device, a pipe or a folder.
    """
    mode_before = _mode_of(path)
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        with open(os.open(partial, _NEW, mode), "wb") as file:  # noqa: PTH123 - of a descriptor
            if mode_before is not None:
                os.fchmod(file.fileno(), mode_before)
            yield file
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """The file of this content; see `replace`."""
    with replace(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """The file of this text in UTF-8; see `replace`."""
    write_bytes(path, text.encode())


def create(path: Path) -> BinaryIO:
    """A new file under this name, seen by others while it is written; what had the name is removed."""
    path.unlink(missing_ok=True)
    return open(os.open(path, _NEW, 0o666), "wb")  # noqa: PTH123 - as above; the caller closes it


def append(path: Path) -> BinaryIO:
    """The file, to be written at its end, and made where it does not exist. Raises OSError on a link."""
    _refuse_link(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return open(os.open(path, flags, 0o666), "ab")  # noqa: PTH123 - as above


def make_folder(path: Path) -> None:
    """A folder of Shotclock's inside one that the user named. Raises OSError, also where it is a link."""
    _refuse_link(path)
    path.mkdir(parents=True, exist_ok=True)


def read_bytes(path: Path, most: int) -> bytes:
    """The content. Raises OSError, also where it has more than `most` bytes; no more of it is read."""
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"has more than {most / MIB:g} MiB, the most that is read", str(path))
    return content


def read_regular(path: Path, most: int) -> bytes:
    """As `read_bytes`; OSError where it is a pipe, a device or a folder, which might never end."""
    if not path.is_file():
        what = "is not a regular file" if path.exists() else os.strerror(errno.ENOENT)
        raise OSError(errno.ENOENT, what, str(path))
    return read_bytes(path, most)


def _mode_of(path: Path) -> int | None:
    """The permission bits of a file that is replaced; None of a new one and of a link's place."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(status.st_mode):
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "is a link to something else than a file", str(path))
        return None
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return stat.S_IMODE(status.st_mode)


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise OSError(errno.ELOOP, "is a symbolic link; remove it", str(path))
