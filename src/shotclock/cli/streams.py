"""stdout and stderr that take any text, whatever the encoding of the terminal or the pipe."""

from __future__ import annotations

import codecs
import io
import re
import sys
import unicodedata

ASCII = "shotclock_ascii"

PLAIN = {
    "✓": "+",
    "✗": "x",
    "○": "o",
    "█": "#",
    "░": ".",
    "−": "-",
    "–": "-",
    "·": ".",
    "×": "x",
    "÷": "/",
    "±": "+/-",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "≈": "~",
    "→": "->",
    "↔": "<->",
    "µ": "u",
    "μ": "u",
    "§": "section ",
    "½": "1/2",
    "²": "^2",
    "³": "^3",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
}
"""What is printed of Shotclock's output characters where an encoding lacks them; see `_plain`."""


def prepare_streams() -> None:
    """From here on a character that an encoding lacks is written plainly, and never an error."""
    codecs.register_error("shotclock.plain", _plain)
    codecs.register(_ascii_by_our_name)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where it is closed
            ascii_only = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=ASCII if ascii_only else None, errors="shotclock.plain")


def _ascii_by_our_name(name: str) -> codecs.CodecInfo | None:
    """ASCII by a name that click does not know: where it sees ASCII it writes UTF-8 instead."""
    if name != ASCII:
        return None
    codec = codecs.lookup("ascii")
    return codecs.CodecInfo(
        codec.encode,
        codec.decode,
        codec.streamreader,
        codec.streamwriter,
        incrementalencoder=codec.incrementalencoder,
        incrementaldecoder=codec.incrementaldecoder,
        name=ASCII,
    )


def echo_json(document: str) -> None:
    """Prints a JSON document; what stdout cannot encode is escaped, so that it reads back as it was."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        document.encode(encoding)
    except UnicodeEncodeError:
        document = re.sub(r"[^\x00-\x7f]", _escape, document)
    print(document)  # noqa: T201


def _escape(character: re.Match[str]) -> str:
    """`\\uXXXX`, twice beyond the basic plane: JSON's own escape."""
    units = character[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """The handler: the first character in letters that every encoding has, "?" where it has none.

    A byte of a file's name that is not UTF-8, which Python keeps as a lone surrogate, is itself again.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":
        return character.encode("ascii", "surrogateescape"), error.start + 1
    near = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return PLAIN.get(character) or near or "?", error.start + 1
