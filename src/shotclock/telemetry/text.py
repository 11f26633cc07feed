"""The overview as text for a terminal, aligned, at most 80 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from shotclock.domain.overview import Overview
from shotclock.telemetry.problems import find_problems, show_breaker
from shotclock.telemetry.sections import Cell, Section, sections, show_emulated, tiles

WIDTH = 80
GAP = 2
NARROWEST = 8
"""No column is made narrower."""


def show_text(overview: Overview, target: str) -> str:
    """What the status page says, as lines."""
    return "\n".join(_lines(overview, target)) + "\n"


def _lines(overview: Overview, target: str) -> Iterator[str]:
    yield from textwrap.wrap(
        f"{target} is {overview.phase}: {overview.provider} provider{show_emulated(overview)}, "
        f"breaker {show_breaker(overview)}",
        WIDTH,
    )
    for problem in find_problems(overview):
        yield from textwrap.wrap(f"! {_escape(problem)}", WIDTH, subsequent_indent="  ")
    yield ""
    yield from _align(
        [(tile.name, tile.value.text, tile.note) for tile in tiles(overview)], are_numbers=False
    )
    for section in sections(overview):
        yield ""
        yield section.title
        yield from _show_section(section)


def _show_section(section: Section) -> Iterator[str]:
    if not section.rows:
        yield f"  {section.empty}"
        return
    rows = [tuple(map(_show_cell, row)) for row in section.rows]
    head = [section.columns] if section.columns else []
    for line in _align([*head, *rows], are_numbers=section.has_numbers, width=WIDTH - GAP):
        yield f"  {line}"


def _show_cell(cell: Cell) -> str:
    return f"{_escape(cell.text)} !" if cell.needs_attention else _escape(cell.text)


def _escape(text: str) -> str:
    """A caller's name or a vendor's message must not control the terminal."""
    return text if text.isprintable() else ascii(text)


def _align(rows: list[tuple[str, ...]], *, are_numbers: bool, width: int = WIDTH) -> Iterator[str]:
    """The rows in columns; the widest column gives way, its cells take several lines."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    while (excess := sum(widths) + GAP * (len(widths) - 1) - width) > 0:
        widest = max(range(len(widths)), key=widths.__getitem__)
        others = max((each for place, each in enumerate(widths) if place != widest), default=0)
        widths[widest] -= max(1, min(excess, widths[widest] - max(NARROWEST, others)))
    for row in rows:
        cells = [textwrap.wrap(cell, size) or [""] for cell, size in zip(row, widths, strict=True)]
        for number in range(max(map(len, cells))):
            texts = [lines[number] if number < len(lines) else "" for lines in cells]
            columns = [
                text.rjust(size) if are_numbers and place else text.ljust(size)
                for place, (text, size) in enumerate(zip(texts, widths, strict=True))
            ]
            yield (" " * GAP).join(columns).rstrip()
