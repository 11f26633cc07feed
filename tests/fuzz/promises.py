"""What every target promises, and files written for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from shotclock.domain.errors import ShotclockError

LONGEST_LINE = 3_000


def expect_one_line(call: Callable[[], object]) -> None:
    """Runs it; an error is ours, and one line that can be printed."""
    try:
        call()
    except ShotclockError as error:
        check_line(str(error))


def check_line(text: str) -> None:
    """A line for a person: printable, and of a length that can be read."""
    assert text
    assert "\n" not in text
    assert "\x1b" not in text
    assert len(text) <= LONGEST_LINE, f"{len(text)} characters: {text[:200]}"
    text.encode()


def write_new(path: Path, content: bytes) -> Path:
    """In place of what is there, never through a link."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    return path
