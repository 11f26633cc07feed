"""The course of a metric over recorded runs, an environment a series, and where its level moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from shotclock.bench.history.store import Direction, History, TrendPoint
from shotclock.bench.stats.change_points import ChangePoint, change_points
from shotclock.domain.errors import SettingsError

USUAL = (
    "*.added_latency.p95_ms",
    "*.added_latency.software.p50_ms",
    "*.quantum_latency.p95_ms",
    "*.total_iteration_time.software.p50_ms",
    "*.quantum_share",
    "*.samples_per_s",
    "*.loss",
    "load.quantum_latency.p99_ms",
    "load.software.p50_ms",
    "load.software.p99_ms",
    "load.deadline_hit_ratio",
    "load.goodput_per_s",
    "load.knee_per_s",
)
"""Drawn where no pattern is asked for: what is promised, and the software's part, which regressions move."""


@dataclass(frozen=True, slots=True)
class Series:
    """A metric in one environment and on one clock, the oldest run first.

    name: the environment's letter on the page, with "virtual" where another series has it too.
    """

    name: str
    points: tuple[TrendPoint, ...]
    changes: tuple[ChangePoint, ...]


@dataclass(frozen=True, slots=True)
class Trend:
    """A metric over all recorded runs that have it.

    metric: its name.
    unit: of its values.
    direction: whether lower or higher is better.
    series: its values, one series per environment.
    """

    metric: str
    unit: str
    direction: Direction
    series: tuple[Series, ...]

    @property
    def is_emulated(self) -> bool:
        """Whether any run was."""
        return any(point.emulated for series in self.series for point in series.points)

    @property
    def clock(self) -> str:
        """virtual where any run's was."""
        is_virtual = any(p.clock == "virtual" for series in self.series for p in series.points)
        return "virtual" if is_virtual else "wall"


@dataclass(frozen=True, slots=True)
class Trends:
    """What a page is made of. environments: letter to facts, in the order they first ran."""

    trends: tuple[Trend, ...]
    environments: Mapping[str, Mapping[str, str]]
    runs: int

    @property
    def changes(self) -> list[tuple[Trend, Series, ChangePoint]]:
        """Every change, the newest run first."""
        moved = [(t, series, change) for t in self.trends for series in t.series for change in series.changes]
        return sorted(moved, key=lambda each: each[1].points[each[2].index].started_at, reverse=True)


def read_trends(history: History, patterns: Sequence[str] = ()) -> Trends:
    """The metrics that fit any pattern (`USUAL` without one); SettingsError where a pattern fits none."""
    recorded = history.metrics()
    if not recorded:
        raise SettingsError("the history has no run yet; add some with shotclock verify RUN --record FILE")
    for pattern in patterns:
        if not any(fnmatchcase(metric, pattern) for metric in recorded):
            raise SettingsError(
                f"--metric {pattern}: fits no recorded metric; there are {', '.join(recorded)}"
            )
    metrics = [m for m in recorded if any(fnmatchcase(m, pattern) for pattern in patterns or USUAL)]
    environments = history.environments()
    letters = {environment: _letter(place) for place, environment in enumerate(environments)}
    trends = tuple(_trend(metric, history.trend(metric), letters) for metric in metrics)
    runs = {point.run_id for trend in trends for series in trend.series for point in series.points}
    return Trends(
        trends, {letters[environment]: facts for environment, facts in environments.items()}, len(runs)
    )


def _trend(metric: str, points: Sequence[TrendPoint], letters: Mapping[str, str]) -> Trend:
    series = []
    clocks = dict.fromkeys((point.environment_id, point.clock) for point in points)
    for environment, clock in clocks:
        own = tuple(p for p in points if (p.environment_id, p.clock) == (environment, clock))
        shared = clock == "virtual" and (environment, "wall") in clocks
        name = f"{letters[environment]} virtual" if shared else letters[environment]
        series.append(Series(name, own, tuple(change_points([p.value for p in own]))))
    return Trend(metric, points[0].unit, points[0].direction, tuple(series))


def _letter(place: int) -> str:
    """A, B, … Z, A1, B1, …"""
    rounds, place = divmod(place, 26)
    return f"{chr(ord('A') + place)}{rounds or ''}"


def worse(trend: Trend, change: ChangePoint) -> bool:
    """Whether the level moved to the worse."""
    rose = change.after > change.before
    return rose if trend.direction == "lower" else not rose


def as_json(trends: Trends) -> dict[str, object]:
    """Schema 1: every change, and how many runs each series has."""
    return {
        "schema": 1,
        "runs": trends.runs,
        "environments": {letter: dict(facts) for letter, facts in trends.environments.items()},
        "metrics": {
            trend.metric: {
                "unit": trend.unit,
                "direction": trend.direction,
                "series": {series.name: len(series.points) for series in trend.series},
                "changes": [
                    {
                        "environment": series.name,
                        "run_id": series.points[change.index].run_id,
                        "before": change.before,
                        "after": change.after,
                        "p": change.p,
                        "worse": worse(trend, change),
                    }
                    for series in trend.series
                    for change in series.changes
                ],
            }
            for trend in trends.trends
        },
    }
