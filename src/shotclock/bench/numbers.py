"""Formats numbers for people, everywhere alike: significant digits, milliseconds, shares, money, times."""

from __future__ import annotations

import math

NOTHING = "–"
_UNITS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_FEW, _MOST = 0.0005, 0.9995
"""Shares that one decimal would round to 0 % or to 100 %."""


def number(value: float | None) -> str:
    """Three significant digits, without an exponent where possible: 0.0421, 12.3, 1,230."""
    if value is None:
        return NOTHING
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 1e-4:
        return f"{value:.1e}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def ms(value: float | None) -> str:
    """A latency in milliseconds without its unit; "0" below 0.1 µs."""
    return "0" if value is not None and abs(value) < 1e-4 else number(value)


def percent(value: float | None) -> str:
    """A share as a percentage; only exactly none or all of it reads 0 % or 100 %."""
    if value is None:
        return NOTHING
    if 0 < value < _FEW:
        return "< 0.1 %"
    return "> 99.9 %" if _MOST <= value < 1 else f"{100 * value:.1f} %"


def percent_range(low: float, high: float) -> str:
    """An interval of a share, with one sign for both ends: 91.0–99.5 %."""
    ends = (percent(end).removesuffix(" %") for end in (low, high))
    return f"{'–'.join(ends)} %"


def round_percent(value: float) -> str:
    """A round share, such as a limit, a confidence or an axis label, without superfluous digits: 95 %."""
    return f"{100 * value:.4g} %"


def percent_change(value: float, digits: int = 1) -> str:
    """A relative change with its sign: +5.3 %."""
    return f"{100 * value:+.{digits}f} %"


def limit(value: float) -> str:
    """A limit as it was set, not rounded to what a measurement is good for: 0.95, 1,500."""
    return f"{value:,.10g}"


def limit_ms(value: float) -> str:
    """A limit or deadline in milliseconds as it was set, with its unit: 200 ms."""
    return f"{limit(value)} ms"


def money(value: float | None, currency: str) -> str:
    """An amount with its currency: 1.25 EUR."""
    return f"{number(value)} {currency}"


def span(seconds: float) -> str:
    """A time in its natural unit: 15.2 ms, 5.5 min, 6.6 h."""
    rounded = float(f"{seconds:.3g}")
    size, unit = next((each for each in _UNITS if rounded >= each[0]), _UNITS[-1])
    return f"{rounded / size:,.3g} {unit}"
