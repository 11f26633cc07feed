"""Several runs of one thing: each run's figures, how far they lie apart, and the interval over runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from shotclock.bench.compare.units import read_units
from shotclock.bench.history.store import Direction, Entry, Figure, entry
from shotclock.bench.record.environment import Described, refuse_to_merge
from shotclock.bench.stats.bootstrap import Estimate, mean_over_runs
from shotclock.domain import encoding
from shotclock.domain.errors import SettingsError

HOST = "host"
MACHINE = (HOST, "cpu", "cores", "memory_gib", "system")
"""What machine.json says of a host; runs alike in these are runs of one host."""
WHOLE = ("added_latency", "quantum_latency", "total_iteration_time")
STAGES = ("circuit_submit_latency", "qpu_exec_time", "postproc_time")
"""The latencies whose variance the founding document asks for; of the whole ones the software's part too."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run folder. name: of the folder, unique among the runs."""

    name: str
    host: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Row:
    """One figure over the runs. values: in the runs' order, None where a run has none (too few, missed).

    estimate: mean of the runs' figures with its 95 % interval; None unless every run has the figure.
    """

    metric: str
    unit: str
    direction: Direction
    values: tuple[float | None, ...]
    estimate: Estimate | None

    @property
    def known_values(self) -> list[float]:
        """The values there are."""
        return [value for value in self.values if value is not None]

    @property
    def worst(self) -> float | None:
        """Of the known ones; None where a run has none, as that one may be worse."""
        if len(self.known_values) < len(self.values):
            return None
        return max(self.known_values) if self.direction == "lower" else min(self.known_values)

    @property
    def deviation(self) -> float | None:
        """Standard deviation over runs; None unless every run has the figure."""
        return stdev(self.known_values) if self.estimate is not None else None

    @property
    def spread(self) -> float | None:
        """(greatest − least) / |mean|; None unless every run has the figure and the mean is not 0."""
        if self.estimate is None or self.estimate.value == 0:
            return None
        return (max(self.known_values) - min(self.known_values)) / abs(self.estimate.value)


@dataclass(frozen=True, slots=True)
class Several:
    """The runs in the order they started, and their figures by group: an arm's, or `load`'s.

    accepted: facts in which the runs differ although they were compared.
    """

    runs: tuple[Run, ...]
    groups: Mapping[str, tuple[Row, ...]]
    accepted: tuple[str, ...]

    @property
    def hosts(self) -> list[str]:
        """In the order they first ran."""
        return list(dict.fromkeys(run.host for run in self.runs))

    @property
    def is_emulated(self) -> bool:
        """Whether any run was."""
        return any(run.entry.emulated for run in self.runs)

    @property
    def clock(self) -> str:
        """virtual where any run's was."""
        return "virtual" if any(run.entry.clock == "virtual" for run in self.runs) else "wall"


def read_several(folders: Sequence[Path], despite: Sequence[str] = ()) -> Several:
    """Reads and holds the runs against each other; SettingsError in a line where they don't belong together.

    despite: facts that may differ, as `compare` takes them; hosts always may, their variance is asked for.
    """
    described = [_describe_run(folder) for folder in folders]
    entries = [entry(folder) for folder in folders]
    _refuse_twice(folders, entries)
    refuse_to_merge(described, (*despite, HOST))
    named = [
        Run(name, _host(found.environment), found)
        for name, found in zip(_names(folders), entries, strict=True)
    ]
    runs = tuple(sorted(named, key=lambda run: run.entry.started_at))
    accepted = tuple(
        f"{key}: {', '.join(dict.fromkeys(one.facts.get(key, 'not recorded') for one in described))}"
        for key in despite
        if len({one.facts.get(key) for one in described}) > 1
    )
    return Several(runs, _groups(runs), accepted)


def _describe_run(folder: Path) -> Described:
    units = read_units(folder)
    if not units:
        raise SettingsError(f"{folder}: has no row to compare")
    return units[0].described


def _refuse_twice(folders: Sequence[Path], entries: Sequence[Entry]) -> None:
    seen: dict[str, Path] = {}
    for folder, found in zip(folders, entries, strict=True):
        if found.run_id in seen:
            raise SettingsError(
                f"{folder}: is run {found.run_id}, as {seen[found.run_id]} is; name independent runs"
            )
        seen[found.run_id] = folder


def _names(folders: Sequence[Path]) -> list[str]:
    """The last part of each path, or as many as tell them apart."""
    resolved = [Path(encoding.show_path(folder.resolve())) for folder in folders]
    deepest = max(len(path.parts) for path in resolved)
    for depth in range(1, deepest + 1):
        names = ["/".join(path.parts[-depth:]) for path in resolved]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in resolved]


def _host(environment: Mapping[str, str]) -> str:
    """As machine.json describes it: by its name where it has one, else by what it is."""
    if HOST in environment:
        return environment[HOST]
    told = environment.get
    memory = f", {told('memory_gib')} GiB" if told("memory_gib") else ""
    return f"{told('cpu', 'unknown')}, {told('cores', '?')} cores{memory}, {told('system', 'unknown')}"


def _groups(runs: Sequence[Run]) -> dict[str, tuple[Row, ...]]:
    figures: dict[str, dict[int, Figure]] = {}
    for place, run in enumerate(runs):
        for figure in run.entry.figures:
            if is_requested_metric(figure.metric):
                figures.setdefault(figure.metric, {})[place] = figure
    groups: dict[str, list[Row]] = {}
    for metric, found in figures.items():
        first = next(iter(found.values()))
        values = tuple(found[place].value if place in found else None for place in range(len(runs)))
        known = [value for value in values if value is not None and math.isfinite(value)]
        estimate = mean_over_runs(known) if len(known) == len(runs) else None
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
    """A figure's mean on each host; None where a run there has none."""
    means: dict[str, float | None] = {}
    for host in several.hosts:
        own = [value for run, value in zip(several.runs, row.values, strict=True) if run.host == host]
        known = [value for value in own if value is not None]
        means[host] = fmean(known) if len(known) == len(own) else None
    return means


def as_json(several: Several) -> dict[str, object]:
    """Schema 1. values: in the order of `runs`, null where a run lacks the figure."""
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
