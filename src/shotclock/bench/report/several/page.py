"""The report of several runs: variance over hosts and runs, as one file that needs no network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from shotclock.bench.compare.several import Row, Several, by_host
from shotclock.bench.numbers import NOTHING, number, percent
from shotclock.bench.report.kit.figure import Figure
from shotclock.bench.report.kit.grid import Cell, Grid, Group, plain, row
from shotclock.bench.report.kit.render import without_validation
from shotclock.bench.report.kit.sheet import PAGE, draw_all, template
from shotclock.bench.report.kit.wording import mark_emulated
from shotclock.bench.report.several.chart import comparable, scatter
from shotclock.bench.stats.bootstrap import BootstrapEstimate
from shotclock.domain import files
from shotclock.domain.plural import count

CLAIM = 5
"""Independent runs required for an official figure."""
ACROSS = 5
"""Runs side by side in one table; more runs need further tables."""
_SCATTER = (
    "Each point is a run's figure, drawn by how far it lies from the mean of all runs; the grey bar is the "
    "mean's 95 % interval, by resampling whole runs. A figure that some run lacks is not drawn. Run to run "
    "scatter is what a difference between two single runs must be compared with."
)


@without_validation()
def write_several(several: Several, folder: Path) -> Path:
    """Writes charts/ and report.html under `folder`; gives the page's path. OSError where it cannot."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = mark_emulated(several.is_emulated, several.clock)
    chart = scatter(several, [f"{mark}: {_size(several)}"])
    figures = []
    if chart is not None:
        grid = _scatter_grid(several)
        figures.append(Figure("run_scatter", "How far the runs lie apart", _SCATTER, chart, grid))
    kind = several.runs[0].entry.kind
    badges = mark.split(", ")
    text = template("several.html.j2").render(
        title=f"Shotclock report of {len(several.runs)} runs{' (EMULATED)' if several.is_emulated else ''}",
        name=f"Shotclock {kind}, several runs",
        heading=f"{len(several.runs)} runs of {several.runs[0].entry.environment.get('workload', kind)}",
        badges=badges,
        strong=len(badges),
        foot="Each run's own folder has its rows, settings and report.",
        several=several,
        headline=headline(several),
        drawn=draw_all(figures, folder),
        mark=mark,
        runs=runs(several),
        hosts=list(hosts(several)),
        spreads=spreads(several),
        singles=list(singles(several)),
        environment=_find_shared(several).items(),
        claim=CLAIM,
    )
    path = folder / PAGE
    files.write_text(path, text)
    return path


def headline(several: Several) -> str:
    """How far the runs lie apart at most, in a sentence."""
    compared = [each for rows in several.groups.values() for each in comparable(rows)]
    if not compared:
        return f"{_size(several)}: no figure is in every run."
    middle = percent(_median([each.spread or 0.0 for each in compared]))
    widest = max(compared, key=lambda each: each.spread or 0.0)
    return (
        f"{_size(several)}: the figures lie up to {percent(widest.spread)} of their mean "
        f"apart ({widest.metric}), half of them within {middle}."
    )


def _size(several: Several) -> str:
    hosts = "one host" if len(several.hosts) == 1 else f"{len(several.hosts)} hosts"
    return f"{len(several.runs)} runs on {hosts}"


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _value(value: float | None, each: Row) -> str:
    if value is None:
        return NOTHING
    return percent(value) if each.unit == "ratio" else number(value)


def _estimate(estimate: BootstrapEstimate | None, each: Row) -> Cell:
    if estimate is None:
        return Cell(NOTHING, "not in every run")
    return Cell(
        _value(estimate.value, each), f"{_value(estimate.low, each)} to {_value(estimate.high, each)}"
    )


def _label(metric: str, unit: str) -> Cell:
    name = metric.partition(".")[2]
    return Cell(name, "" if unit in {"ms", "ratio", "1"} or name.endswith(f"_{unit}") else unit, "code")


def spreads(several: Several) -> Grid:
    """Every figure of every arm: each run's (of up to five), the mean with its interval, worst and spread."""
    beside = [run.name for run in several.runs] if len(several.runs) <= ACROSS else ["least", "greatest"]
    groups = []
    for name, rows in several.groups.items():
        cells = []
        for each in rows:
            few = len(several.runs) <= ACROSS
            ends = [min(each.present_values, default=None), max(each.present_values, default=None)]
            cells.append(
                row(
                    (
                        _label(each.metric, each.unit),
                        *(_value(value, each) for value in (each.values if few else ends)),
                        _estimate(each.estimate, each),
                        _value(each.worst, each),
                        _value(each.deviation, each),
                        percent(each.spread),
                    )
                )
            )
        groups.append(Group(tuple(cells), name))
    head = ("figure", *beside, "mean, 95 % interval", "worst", "standard deviation", "spread")
    return Grid("Figures over the runs", head, tuple(groups), mixed=True)


def singles(several: Several) -> Iterator[Grid]:
    """Each run's figures in tables of five runs, where one table would be too wide."""
    if len(several.runs) <= ACROSS:
        return
    for start in range(0, len(several.runs), ACROSS):
        part = slice(start, start + ACROSS)
        groups = [
            Group(
                tuple(
                    row(
                        (
                            _label(each.metric, each.unit),
                            *(_value(value, each) for value in each.values[part]),
                        )
                    )
                    for each in rows
                ),
                name,
            )
            for name, rows in several.groups.items()
        ]
        names = [run.name for run in several.runs[part]]
        yield Grid(f"Runs {start + 1} to {start + len(names)}", ("figure", *names), tuple(groups), mixed=True)


def runs(several: Several) -> Grid:
    """What is compared, in the order the runs started."""
    rows = [
        (
            Cell(run.name, run.entry.run_id),
            f"host {several.hosts.index(run.host) + 1}: {run.host}",
            run.entry.started_at[:19].replace("T", " "),
            run.entry.shotclock,
            mark_emulated(run.entry.emulated, run.entry.clock),
        )
        for run in several.runs
    ]
    return plain("Runs", ("run", "host", "started", "shotclock", ""), rows, words=5)


def hosts(several: Several) -> Iterator[Grid]:
    """Means a host, where there are several."""
    if len(several.hosts) < 2:
        return
    counts = [sum(run.host == host for run in several.runs) for host in several.hosts]
    groups = []
    for name, rows in several.groups.items():
        cells = []
        for each in comparable(rows):
            means = list(by_host(several, each).values())
            present_means = [mean for mean in means if mean is not None]
            apart = (
                (max(present_means) - min(present_means)) / abs(each.estimate.value)
                if each.estimate
                else None
            )
            cells.append(
                row(
                    (
                        _label(each.metric, each.unit),
                        *(_value(mean, each) for mean in means),
                        percent(apart),
                        percent(each.spread),
                    )
                )
            )
        if cells:
            groups.append(Group(tuple(cells), name))
    host_heads = [f"host {place + 1}, {count(runs, 'run')}" for place, runs in enumerate(counts)]
    yield Grid(
        "Means by host", ("figure", *host_heads, "hosts apart", "runs apart"), tuple(groups), mixed=True
    )


def _scatter_grid(several: Several) -> Grid:
    groups = []
    for name, rows in several.groups.items():
        cells = [
            row((_label(each.metric, each.unit), _estimate(each.estimate, each), percent(each.spread)))
            for each in comparable(rows)
        ]
        if cells:
            groups.append(Group(tuple(cells), name))
    return Grid("Drawn figures", ("figure", "mean, 95 % interval", "spread"), tuple(groups), mixed=True)


def _find_shared(several: Several) -> dict[str, str]:
    """What is the same in every run."""
    first, *others = [run.entry.environment for run in several.runs]
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}
