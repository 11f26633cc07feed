"""Numbers as an operator reads them on the status page and in the terminal."""

from __future__ import annotations

from datetime import UTC, datetime

TOO_FEW = "too few"
UNKNOWN = "unknown"
SPANS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def show_duration(seconds: float) -> str:
    """`0.4 ms`, `35 ms`, `1.24 s`, `75 s`."""
    if seconds < 0.001:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:,.0f} s"


def show_percentile(seconds: float | None) -> str:
    """A duration, or that there are too few for one."""
    return TOO_FEW if seconds is None else show_duration(seconds)


def show_span(seconds: float) -> str:
    """The two largest units: `3 d 4 h`, `5 min`, `12 s`."""
    remaining = int(max(0.0, seconds))
    parts: list[str] = []
    for size, unit in SPANS:
        number, remaining = divmod(remaining, size)
        if number or (parts and len(parts) < 2):
            parts.append(f"{number} {unit}" if number else "")
        if len(parts) == 2:
            break
    return " ".join(filter(None, parts)) or "0 s"


def show_share(part: int, whole: int) -> str:
    """`99.2 %`, `> 99.9 %`; 100 % and 0 % only where exact, "–" of nothing."""
    if whole == 0:
        return "–"
    if part in {0, whole}:
        return f"{100 * part // whole} %"
    percent = 100 * part / whole
    if percent < 0.1 or percent > 99.9:
        return "< 0.1 %" if percent < 0.1 else "> 99.9 %"
    return f"{percent:.1f} %"


def show_instant(at_unix_s: float, now_unix_s: float) -> str:
    """In UTC: the time of the present day, or with its date."""
    at, now = (datetime.fromtimestamp(instant, UTC) for instant in (at_unix_s, now_unix_s))
    return f"{at:%H:%M:%S}" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M}"


def show_counts(counts: dict[str, int]) -> str:
    """`remaining_budget 2,530, queue_limit 312`, in the order of the counts."""
    return ", ".join(f"{name} {number:,}" for name, number in counts.items())
