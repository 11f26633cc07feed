"""Writes the files of an operator into a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from shotclock.domain.errors import MachineError, SettingsError

FILES = Path(__file__).parent / "files"
RUNBOOKS = "@RUNBOOKS@"
"""In a file: where `runbook_url` finds the pages, replaced by a URL."""


def export(folder: Path, runbooks: str = "", *, force: bool = False) -> tuple[Path, ...]:
    """Writes every file into the folder, and returns their paths; nothing is written where one is refused.

    runbooks: the URL of a folder with the runbooks; by default the exported one, as a file URL.
    force: whether files that exist are overwritten; symbolic links below the folder never are.
    """
    url = runbooks.rstrip("/") or (folder.absolute() / "runbooks").as_uri()
    if any(character.isspace() or character in "\"'\\" for character in url):
        raise SettingsError(f"--runbooks: must be a URL without spaces and quotes (got {url!r})")
    contents = {place: text.replace(RUNBOOKS, url) for place, text in read_files()}
    for place in contents:
        _check_place(folder, place, force=force)
    for place, text in contents.items():
        _write(folder / place, text, force=force)
    return tuple(folder / place for place in contents)


def read_files() -> Iterator[tuple[Path, str]]:
    """Path below the folder and text of every file, in order."""
    for directory, folders, names in os.walk(FILES, followlinks=True):  # runbooks is a link to docs/runbooks
        folders.sort()
        for name in sorted(names):
            path = Path(directory, name)
            yield path.relative_to(FILES), path.read_text(encoding="utf-8")


def _check_place(folder: Path, place: Path, *, force: bool) -> None:
    for path in (folder / place, *(folder / above for above in place.parents)):
        if path != folder and path.is_symlink():
            raise SettingsError(f"{path}: is a symbolic link, which is not followed; remove it")
        if path != folder / place and path.exists() and not path.is_dir():
            raise SettingsError(f"{path}: is not a folder; choose another folder")
    if (folder / place).is_dir():
        raise SettingsError(f"{folder / place}: is a folder; choose another folder")
    if not force and (folder / place).exists():
        raise SettingsError(f"{folder / place}: exists; use another folder, or --force to overwrite")


def _write(path: Path, text: str, *, force: bool) -> None:
    existing = os.O_TRUNC if force else os.O_EXCL
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | existing, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise MachineError(f"{path}: cannot be written: {error.strerror}; choose another folder") from error
