"""Axes over what a run happened to have: round ticks, and a log scale where the values ask for one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from shotclock.bench.report.kit.panel import Axis

LOG_FROM_RATIO = 12.0
"""Arms whose ends differ more than this need a log axis to be seen side by side."""
_ALL_MARKS_DECADES = 2.5
"""Up to so many decades have ticks at twice and five times a power of ten too."""


def linear(low: float, high: float, about: int, title: str) -> Axis:
    """From low to high, with `about` round ticks: 1, 2 or 5 times a power of ten apart."""
    rough = max(high - low, 1e-12) / about
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * (1 - 1e-9))
    ticks = tuple(step * k for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1))
    return Axis(
        low, high, ticks, tuple(f"{tick:,.6g}".replace("-", "−", int(tick < 0)) for tick in ticks), title
    )


def logarithmic(
    low: float, high: float, title: str, *, every: int = 1, read: Callable[[float], str] | None = None
) -> Axis:
    """From log10 of low to log10 of high, both positive.

    Many decades have a tick at each `every`-th power of ten; few, at twice and five times them too.
    """
    ends = math.log10(low), math.log10(high)
    decades = range(math.floor(ends[0]), math.ceil(ends[1]) + 1)
    within = (1,) if ends[1] - ends[0] > _ALL_MARKS_DECADES else (1, 2, 5)
    ticks = [math.log10(m) + d for d in decades if d % every == 0 for m in within]
    shown = tuple(tick for tick in ticks if ends[0] - 1e-9 <= tick <= ends[1] + 1e-9)
    words = read or power
    return Axis(*ends, shown, tuple(words(10**tick) for tick in shown), title)


def power(value: float) -> str:
    """1,000, 0.01, and 1e-6 where zeros would have to be counted."""
    return f"{value:,.6g}" if value > 0.9e-4 else f"{value:.0e}".replace("e-0", "e-")


def about_all(values: Iterable[float], room: float) -> tuple[float, float]:
    """Least and greatest of the values with a share `room` of their distance about them."""
    numbers = list(values)
    space = room * (max(numbers) - min(numbers)) or 0.01
    return min(numbers) - space, max(numbers) + space
