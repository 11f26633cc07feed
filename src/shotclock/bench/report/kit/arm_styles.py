"""How an arm looks: colour, dash and marker together, so that no figure rests on colour alone.

Colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/), yellow left out; the three lightest are
darkened to a contrast of 3:1 on paper (WCAG 2.2, 1.4.11), which all keep on the dark page too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

INK = "#1b1b1a"
"""Text, axes and the first arm. The page replaces it with its own text colour, so dark mode works."""
FONT = "Arial, Liberation Sans, Helvetica, sans-serif"
"""Fonts of equal metrics: vl-convert lays text out with the second, browsers use the first installed one."""


@dataclass(frozen=True, slots=True)
class Look:
    """dash: on and off lengths in px, (1, 0) is a solid line; shape: Vega's name or an SVG path."""

    colour: str
    dash: tuple[int, ...]
    shape: str

    @property
    def css_line(self) -> str:
        """A CSS background that repeats the dash, for a legend outside the charts."""
        colour = "currentColor" if self.colour == INK else self.colour
        stops, at = [], 0
        for number, length in enumerate(self.dash):
            stops.append(f"{'transparent' if number % 2 else colour} {at}px {at + length}px")
            at += length
        return f"repeating-linear-gradient(90deg, {', '.join(stops)})"


_LOOKS = (
    Look(INK, (1, 0), "circle"),
    Look("#7d7d7a", (2, 2), "square"),
    Look("#0072B2", (1, 0), "triangle-up"),
    Look("#4897C4", (7, 3), "diamond"),
    Look("#009E73", (9, 3, 2, 3), "triangle-down"),
    Look("#D55E00", (5, 2), "cross"),
    Look("#C877A4", (3, 3), "triangle-right"),
    Look("#BF8400", (9, 2, 2, 2, 2, 2), "triangle-left"),
)
_USUAL = (
    "classical-only",
    "classical-control",
    "hybrid-colocated",
    "hybrid-colocated-protected",
    "hybrid-onprem-today",
    "hybrid-public-cloud",
    "quantum-raw",
)


def looks(arms: Iterable[str]) -> dict[str, Look]:
    """A look for each arm: the usual arms keep theirs from run to run, others take what is left, in order."""
    names = list(arms)
    usual = {name: look for name, look in zip(_USUAL, _LOOKS, strict=False) if name in names}
    unused = [look for look in _LOOKS if look not in usual.values()] or list(_LOOKS)
    others = [name for name in names if name not in usual]
    return usual | {name: unused[number % len(unused)] for number, name in enumerate(others)}
