"""Several runs of the same settings: each run's figures, their spread, and the interval over runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from shotclock.bench.compare.units import read_units
from shotclock.bench.history.store import Direction, HistoryEntry, HistoryFigure, entry
from shotclock.bench.record.environment import Described, refuse_to_merge
from shotclock.bench.stats.bootstrap import BootstrapEstimate, mean_over_runs
from shotclock.domain import encoding
from shotclock.domain.errors import SettingsError

HOST = "host"
MACHINE = (HOST, "cpu", "cores", "memory_gib", "system")
"""The facts in machine.json that identify a host."""
WHOLE = ("added_latency", "quantum_latency", "total_iteration_time")
STAGES = ("circuit_submit_latency", "qpu_exec_time", "postproc_time")
"""The latencies whose variance the specification requires; for WHOLE also the software's part."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run folder. name: the folder's, unique among the runs."""

    name: str
    host: str
    entry: HistoryEntry


@dataclass(frozen=True, slots=True)
class Row:
    """One figure over the runs.

    metric: its name
    unit: its unit
    direction: whether lower or higher is better
    values: in the runs' order; None if a run lacks it (too few calls, or missed)
    estimate: mean with its 95 % interval; None unless every run has the figure
    """

    metric: str
    unit: str
    direction: Direction
    values: tuple[float | None, ...]
    estimate: BootstrapEstimate | None

    @property
    def present_values(self) -> list[float]:
        """The values without None."""
        return [value for value in self.values if value is not None]

    @property
    def worst(self) -> float | None:
        """The worst value; None if a run lacks the figure, because it may be worse there."""
        if len(self.present_values) < len(self.values):
            return None
        return max(self.present_values) if self.direction == "lower" else min(self.present_values)

    @property
    def deviation(self) -> float | None:
        """Standard deviation over runs; None unless every run has the figure."""
        return stdev(self.present_values) if self.estimate is not None else None

    @property
    def spread(self) -> float | None:
        """(greatest − least) / |mean|; None unless every run has the figure and the mean is not 0."""
        if self.estimate is None or self.estimate.value == 0:
            return None
        return (max(self.present_values) - min(self.present_values)) / abs(self.estimate.value)


@dataclass(frozen=True, slots=True)
class Several:
    """The runs in order of start, and their figures by group: an arm's, or `load`'s.

    accepted: facts in which the runs differ and that the user allowed to differ.
    """

    runs: tuple[Run, ...]
    groups: Mapping[str, tuple[Row, ...]]
    accepted: tuple[str, ...]

    @property
    def hosts(self) -> list[str]:
        """The hosts in order of their first run."""
        return list(dict.fromkeys(run.host for run in self.runs))

    @property
    def is_emulated(self) -> bool:
        """Whether any run was emulated."""
        return any(run.entry.emulated for run in self.runs)

    @property
    def clock(self) -> str:
        """ "virtual" if any run's clock was virtual."""
        return "virtual" if any(run.entry.clock == "virtual" for run in self.runs) else "wall"


def read_several(folders: Sequence[Path], despite: Sequence[str] = ()) -> Several:
    """Reads the runs and checks that they are comparable; raises SettingsError (one line) otherwise.

    despite: facts that may differ, as in `compare`; hosts always may, because their variance is of interest.
    """
    described = [_describe_run(folder) for folder in folders]
    entries = [entry(folder) for folder in folders]
    _refuse_twice(folders, entries)
    refuse_to_merge(described, (*despite, HOST))
    read_runs = [
        Run(name, _describe_host(each.environment), each)
        for name, each in zip(_names(folders), entries, strict=True)
    ]
    runs = tuple(sorted(read_runs, key=lambda run: run.entry.started_at))
    accepted = tuple(
        f"{key}: {', '.join(dict.fromkeys(each.facts.get(key, 'not recorded') for each in described))}"
        for key in despite
        if len({each.facts.get(key) for each in described}) > 1
    )
    return Several(runs, _groups(runs), accepted)


def _describe_run(folder: Path) -> Described:
    units = read_units(folder)
    if not units:
        raise SettingsError(f"{folder}: has no row to compare")
    return units[0].described


def _refuse_twice(folders: Sequence[Path], entries: Sequence[HistoryEntry]) -> None:
    by_id: dict[str, Path] = {}
    for folder, run in zip(folders, entries, strict=True):
        if run.run_id in by_id:
            raise SettingsError(
                f"{folder}: is run {run.run_id}, as {by_id[run.run_id]} is; name independent runs"
            )
        by_id[run.run_id] = folder


def _names(folders: Sequence[Path]) -> list[str]:
    """The last part of each path, or as many parts as needed for unique names."""
    resolved = [Path(encoding.show_path(folder.resolve())) for folder in folders]
    deepest = max(len(path.parts) for path in resolved)
    for depth in range(1, deepest + 1):
        names = ["/".join(path.parts[-depth:]) for path in resolved]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in resolved]


def _describe_host(environment: Mapping[str, str]) -> str:
    """The host's name in machine.json, or its hardware if it has no name."""
    if HOST in environment:
        return environment[HOST]
    fact = environment.get
    memory = f", {fact('memory_gib')} GiB" if fact("memory_gib") else ""
    return f"{fact('cpu', 'unknown')}, {fact('cores', '?')} cores{memory}, {fact('system', 'unknown')}"


def _groups(runs: Sequence[Run]) -> dict[str, tuple[Row, ...]]:
    figures: dict[str, dict[int, HistoryFigure]] = {}
    for place, run in enumerate(runs):
        for figure in run.entry.figures:
            if is_requested_metric(figure.metric):
                figures.setdefault(figure.metric, {})[place] = figure
    groups: dict[str, list[Row]] = {}
    for metric, by_run in figures.items():
        first = next(iter(by_run.values()))
        values = tuple(by_run[place].value if place in by_run else None for place in range(len(runs)))
        finite = [value for value in values if value is not None and math.isfinite(value)]
        estimate = mean_over_runs(finite) if len(finite) == len(runs) else None
        group = metric.partition(".")[0]
        groups.setdefault(group, []).append(Row(metric, first.unit, first.direction, values, estimate))
    return {name: tuple(rows) for name, rows in groups.items()}


def is_requested_metric(metric: str) -> bool:
    group, *middle, last = metric.split(".")
    if group == "load" or not last.endswith("_ms"):
        return True
    return middle in ([name] for name in (*WHOLE, *STAGES)) or middle in (
        [name, "software"] for name in WHOLE
    )


def by_host(several: Several, row: Row) -> dict[str, float | None]:
    """A figure's mean on each host; None if a run there lacks it."""
    means: dict[str, float | None] = {}
    for host in several.hosts:
        values = [value for run, value in zip(several.runs, row.values, strict=True) if run.host == host]
        present_values = [value for value in values if value is not None]
        means[host] = fmean(present_values) if len(present_values) == len(values) else None
    return means


def as_json(several: Several) -> dict[str, object]:
    """The comparison as JSON, schema 1. values: in the order of `runs`, null if a run lacks the figure."""
    return {
        "schema": 1,
        "runs": [
            {
                "name": run.name,
                "run_id": run.entry.run_id,
                "host": run.host,
                "started_at": run.entry.started_at,
            }
            for run in several.runs
        ],
        "emulated": several.is_emulated,
        "clock": several.clock,
        "accepted": list(several.accepted),
        "metrics": {
            row.metric: {
                "unit": row.unit,
                "direction": row.direction,
                "values": list(row.values),
                "mean": row.estimate.value if row.estimate else None,
                "low": row.estimate.low if row.estimate else None,
                "high": row.estimate.high if row.estimate else None,
                "confidence": row.estimate.confidence if row.estimate else None,
                "worst": row.worst,
                "standard_deviation": row.deviation,
                "spread": row.spread,
            }
            for rows in several.groups.values()
            for row in rows
        },
    }
