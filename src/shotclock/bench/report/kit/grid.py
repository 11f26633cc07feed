"""A table as the page draws it: all it shows is text, decided before the template sees it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_NUMBER = re.compile(r"[-−+]?[\d,]+(?:\.(\d+))?")
_POINT_WIDE, _DIGIT_WIDE = "\u2008", "\u2007"
"""Spaces as wide as a point and as a digit."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry.

    text: what it says.
    note: small, below it; "" without one.
    look: a CSS class; "" without one.
    bar: shares, 0..1, of software and of emulated wait, drawn under the text; None without a bar.
    """

    text: str
    note: str = ""
    look: str = ""
    bar: tuple[float, float] | None = None

    @property
    def decimals(self) -> int:
        """Number of digits after a number's decimal point; 0 for words."""
        match = _NUMBER.fullmatch(self.text)
        return len(match.group(1) or "") if match else 0

    def padding(self, places: int) -> str:
        """The padding after a number that aligns its decimal point with numbers of `decimals` digits."""
        if not _NUMBER.fullmatch(self.text) or self.decimals >= places:
            return ""
        return _POINT_WIDE * (self.decimals == 0) + _DIGIT_WIDE * (places - self.decimals)


@dataclass(frozen=True, slots=True)
class Group:
    """Rows under a title; without a title they follow directly."""

    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """Columns with a caption.

    caption: what the table shows.
    head: the columns' names.
    groups: the rows.
    words: the first so many columns are text, the others numbers, set right.
    even: all columns but the first are of one width, as their entries are compared across.
    mixed: rows are of different units, so that decimal points need not be aligned.
    """

    caption: str
    head: tuple[str, ...]
    groups: tuple[Group, ...] = field(default=())
    words: int = 1
    even: bool = False
    mixed: bool = False

    @property
    def length(self) -> int:
        """Rows in all groups."""
        return sum(len(group.rows) for group in self.groups)

    def places(self) -> tuple[int, ...]:
        """The most decimals of each column, none of a mixed grid's."""
        rows = [] if self.mixed else [row for group in self.groups for row in group.rows]
        return tuple(
            max((row[column].decimals for row in rows if column < len(row)), default=0)
            for column in range(len(self.head))
        )


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
    mixed: bool = False,
) -> Grid:
    """A grid of one untitled group."""
    return Grid(caption, tuple(head), (Group(tuple(row(cells) for cells in rows)),), words, even, mixed)
