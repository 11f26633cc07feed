"""The page of trends: every chosen metric over the recorded runs, and the history as Parquet beside it."""

from __future__ import annotations

import re
from pathlib import Path

from shotclock.bench.history.store import History
from shotclock.bench.history.trends import Trend, Trends, worse
from shotclock.bench.numbers import NOTHING, number, percent, percent_change
from shotclock.bench.report.kit.figure import Figure
from shotclock.bench.report.kit.grid import Cell, Grid, plain
from shotclock.bench.report.kit.render import without_validation
from shotclock.bench.report.kit.sheet import PAGE, draw_all, template
from shotclock.bench.report.kit.wording import mark_emulated
from shotclock.bench.report.trends.chart import course
from shotclock.bench.stats.change_points import ALPHA, FEWEST
from shotclock.domain import files
from shotclock.domain.plural import count, verb

EXPORT = "history.parquet"
_RUNS = 24
"""The newest runs of a metric in its table; all are in the Parquet file."""


@without_validation()
def write_trends(trends: Trends, history: History, folder: Path) -> Path:
    """Writes charts/, report.html and history.parquet under `folder`; gives the page's path.

    Raises OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    history.export(folder / EXPORT)
    emulated = any(trend.is_emulated for trend in trends.trends)
    clock = "virtual" if any(trend.clock == "virtual" for trend in trends.trends) else "wall"
    mark = mark_emulated(emulated, clock)
    badges = mark.split(", ")
    text = template("trends.html.j2").render(
        title=f"Shotclock trends{' (EMULATED)' if emulated else ''}",
        name="Shotclock history",
        heading=count(trends.runs, "recorded run"),
        badges=badges,
        strong=len(badges),
        foot=f"All figures, a row a run and a metric: {EXPORT}.",
        headline=headline(trends),
        changes=changes(trends),
        drawn=draw_all([_figure(trend) for trend in sorted(trends.trends, key=_calm)], folder),
        environments=environments(trends),
        mark=mark,
        fewest=FEWEST,
        alpha=percent(ALPHA),
    )
    path = folder / PAGE
    files.write_text(path, text)
    return path


def headline(trends: Trends) -> str:
    """How many levels moved, and the last one to the worse."""
    size = f"{count(len(trends.trends), 'metric')} over {count(trends.runs, 'run')}"
    longest = max((len(series.points) for trend in trends.trends for series in trend.series), default=0)
    if longest < 2 * FEWEST:
        return (
            f"{size}: too few to detect a change; that takes {2 * FEWEST} runs in one environment, "
            f"the longest series has {longest}."
        )
    bad = [each for each in trends.changes if worse(each[0], each[2])]
    if not bad:
        better = f"{count(len(trends.changes), 'change')}, all to the better"
        return f"{size}: {better if trends.changes else 'no level has moved'}."
    trend, series, change = bad[0]
    values = f"{_value(trend, change.before)} to {_value(trend, change.after)}"
    started = series.points[change.index].started_at[:16].replace("T", " ")
    return (
        f"{size}: {len(bad)} of {count(len(trends.changes), 'change')} {verb(len(bad), 'is', 'are')} "
        f"to the worse, the last in {trend.metric} from {values} with the run of {started}."
    )


def _value(trend: Trend, value: float) -> str:
    if trend.unit == "ratio":
        return percent(value)
    return number(value) if trend.unit == "1" else f"{number(value)} {trend.unit}"


def changes(trends: Trends) -> Grid:
    """Every change, the newest first, with the run it came with."""
    rows = []
    for trend, series, change in trends.changes:
        first, before = series.points[change.index], series.points[change.index - 1]
        rows.append(
            (
                Cell("worse", look="fail") if worse(trend, change) else Cell("better", look="pass"),
                Cell(trend.metric, f"environment {series.name}", "code"),
                Cell(first.started_at[:16].replace("T", " "), first.run_id),
                f"{before.shotclock} → {first.shotclock}",
                _value(trend, change.before),
                _value(trend, change.after),
                NOTHING if change.ratio is None else percent_change(change.ratio),
                f"{change.p:.3f}",
            )
        )
    head = ("", "metric", "first run after", "shotclock", "before", "after", "change", "p")
    return plain("Changes of level, the newest first", head, rows, words=4)


def _calm(trend: Trend) -> tuple[bool, bool]:
    """Sorts what moved to the worse first, then what moved at all; others keep their order."""
    moved = [change for series in trend.series for change in series.changes]
    return not any(worse(trend, change) for change in moved), not moved


def _figure(trend: Trend) -> Figure:
    better = "Lower" if trend.direction == "lower" else "Higher"
    moved = sum(len(series.changes) for series in trend.series)
    changes = {0: "No level changed.", 1: "One level changed."}.get(moved, f"{moved} levels changed.")
    caption = (
        f"{better} is better. {changes} A letter is an environment; grey bars are medians of the levels."
    )
    name = re.sub(r"[^a-z0-9]+", "-", trend.metric.lower()).strip("-")
    return Figure(f"trend-{name}", trend.metric, caption, course(trend), _points(trend))


def _points(trend: Trend) -> Grid:
    points = [(series.name, point) for series in trend.series for point in series.points]
    newest = sorted(points, key=lambda each: each[1].started_at, reverse=True)[:_RUNS]
    rows = [
        (
            point.started_at[:16].replace("T", " "),
            point.run_id,
            name,
            point.shotclock,
            _value(trend, point.value),
            NOTHING if point.bound is None else _value(trend, point.bound),
        )
        for name, point in newest
    ]
    head = ("started", "run", "environment", "shotclock", "value", "bound")
    return plain(f"{trend.metric}, the newest runs first", head, rows, words=4)


def environments(trends: Trends) -> Grid:
    """The facts in which the environments differ, and those that they share."""
    keys = dict.fromkeys(key for facts in trends.environments.values() for key in facts)
    rows = []
    for letter, facts in trends.environments.items():
        others = [other for name, other in trends.environments.items() if name != letter]
        own = [key for key in keys if any(other.get(key) != facts.get(key) for other in others)]
        shown = own or list(facts)
        rows.append((letter, ", ".join(f"{key} {facts[key]}" for key in shown if key in facts) or NOTHING))
    what = "what distinguishes it" if len(rows) > 1 else "what it is"
    return plain("Environments", ("", what), rows, words=2)
