"""The lines of a TOML document on which its keys are set, for errors that name them."""

from __future__ import annotations

import re
from collections.abc import Iterator


def line_of(text: str, path: tuple[str | int, ...]) -> int | None:
    """The line (from 1) on which a TOML document sets the key, or its nearest table; None if nowhere."""
    best, best_line = 0, None
    for number, keys in _toml_keys(text):
        within = min(len(keys), len(path))
        shared = within if keys[:within] == path[:within] else 0
        if shared > best:
            best, best_line = shared, number
    return best_line


def _toml_keys(text: str) -> Iterator[tuple[int, tuple[str | int, ...]]]:
    table: tuple[str | int, ...] = ()
    repeats: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if match := re.match(r"\s*\[\[\s*([^\]]+?)\s*\]\]", line):
            repeats[match[1]] = repeats.get(match[1], -1) + 1
            table = (*_key_parts(match[1]), repeats[match[1]])
            yield number, table
        elif match := re.match(r"\s*\[\s*([^\]]+?)\s*\]", line):
            table = _key_parts(match[1])
            yield number, table
        elif match := re.match(
            r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"))*)\s*=""", line
        ):
            yield number, (*table, *_key_parts(match[1]))


def _key_parts(key: str) -> tuple[str, ...]:
    return tuple(part.strip("\"' ") for part in re.findall(r"""[\w-]+|"[^"]*"|'[^']*'""", key))
