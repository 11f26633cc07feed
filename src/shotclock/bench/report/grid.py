"""A table as the page draws it: all it shows is text, decided before the template sees it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry. note: small, below it; look: a CSS class.

    bar: shares, 0..1, of software and of emulated wait, drawn under the text.
    """

    text: str
    note: str = ""
    look: str = ""
    bar: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Rows under a title of their own; without title they follow plainly."""

    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """Columns with a caption; the first `words` columns are text, the others numbers, set right.

    even: all columns but the first are of one width, as their entries are compared across.
    """

    caption: str
    head: tuple[str, ...]
    groups: tuple[Group, ...] = field(default=())
    words: int = 1
    even: bool = False


def row(cells: Iterable[str | Cell]) -> tuple[Cell, ...]:
    """A row from plain words and finished cells."""
    return tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in cells)


def plain(
    caption: str,
    head: Iterable[str],
    rows: Iterable[Iterable[str | Cell]],
    words: int = 1,
    *,
    even: bool = False,
) -> Grid:
    """A grid of one untitled group."""
    return Grid(caption, tuple(head), (Group(tuple(row(cells) for cells in rows)),), words, even)
