"""Text files as editors write them: with a byte order mark, with Windows' line ends, in UTF-16."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

from shotclock.domain import files

_OTHER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
MOST_BYTES = 64 * files.MIB


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """The text of a file of at most so many bytes; see `decode`.

    Raises OSError and UnicodeError, whose texts are fit to be shown.
    """
    return decode(files.read_bytes(path, most))


def decode(content: bytes) -> str:
    """UTF-8 without its byte order mark, each line ended by a line feed.

    Raises UnicodeError: what it is instead, and what to do.
    """
    for mark, encoding in _OTHER_MARKS:
        if content.startswith(mark):
            raise UnicodeError(f"is {encoding} text; save it as UTF-8")
    if b"\0" in content[:2]:  # UTF-16 of an ASCII letter, without its mark
        raise UnicodeError("is UTF-16 text, or no text at all; save it as UTF-8")
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnicodeError(
            f"is not UTF-8 text (line {line}: byte 0x{content[error.start]:02x}); save it as UTF-8"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def explain(error: OSError | UnicodeError) -> str:
    """Why a file cannot be read, for an error of one line."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def show_path(path: Path | str) -> str:
    """A path as text: bytes of a name that are not UTF-8, which no file of text can hold, as `\\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def sqlite_name(path: Path) -> str:
    """An absolute path for SQLite, to be opened with SQLITE_OPEN_URI.

    Bytes that are not UTF-8 reach SQLite in a URI alone.
    """
    name = str(path)
    return name if _is_utf8(name) else path.as_uri()


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
