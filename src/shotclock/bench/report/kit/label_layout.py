"""Room for words inside a panel: where a label touches no line and no other label, px from its top left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shotclock.bench.report.kit.panel import Axis

_CHARACTER_PX = 5.4
"""Average width of the charts' font at 10 px; a little wide, so that words keep their distance."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, px; y grows downwards.

    left, top: its first corner.
    right, bottom: the opposite corner.
    """

    left: float
    top: float
    right: float
    bottom: float

    def holds(self, place: tuple[float, float]) -> bool:
        """Whether a point lies in it."""
        return self.left <= place[0] <= self.right and self.top <= place[1] <= self.bottom

    def meets(self, other: Box) -> bool:
        """Whether the two share any point."""
        return (
            self.left <= other.right
            and other.left <= self.right
            and self.top <= other.bottom
            and other.top <= self.bottom
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """A panel's axes and size, px.

    x, y: the axes.
    width, height: of the area they span, px.
    """

    x: Axis
    y: Axis
    width: float
    height: float

    def place(self, at: tuple[float, float]) -> tuple[float, float]:
        """A point in axis units as px."""
        x = (at[0] - self.x.low) / (self.x.high - self.x.low) * self.width
        return x, (self.y.high - at[1]) / (self.y.high - self.y.low) * self.height

    def words(self, at: tuple[float, float], text: str, dx: float, dy: float) -> Box:
        """Around text of 10 px beside `at`: from dx to its right or, for dx < 0, to its left."""
        x, y = self.place(at)
        length = _CHARACTER_PX * len(text)
        start = x + dx if dx >= 0 else x + dx - length
        return Box(start, y + dy - 7, start + length, y + dy + 7)

    def outside(self, box: Box) -> bool:
        """Whether words would leave the panel."""
        return box.left < 0 or box.right > self.width or box.top < 0 or box.bottom > self.height


def stack_labels(starts: Sequence[float], gap: float) -> list[float]:
    """Heights of names from low to high, `gap` apart; names of closer lines are placed above them all."""
    heights: list[float] = []
    first = 0
    for number, start in enumerate(starts):
        if heights and start < heights[-1] + gap:
            heights = [*heights[:first], *(start + gap * above for above in range(number - first + 1))]
        else:
            first = number
            heights.append(start)
    return heights


def freest(
    frame: Frame, choices: Sequence[Box], boxes: Sequence[Box], lines: Sequence[tuple[float, float]]
) -> int:
    """The place of the first of the choices that touches least. lines: points that are drawn, px."""

    def count_overlaps(box: Box) -> int:
        met = sum(box.meets(other) for other in boxes)
        return 1000 * frame.outside(box) + 100 * met + sum(box.holds(point) for point in lines)

    return min(range(len(choices)), key=lambda number: count_overlaps(choices[number]))
