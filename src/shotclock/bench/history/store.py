"""The history of runs: one SQLite file, a row a run and a metric; what trends are drawn from."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import apsw
import pyarrow as pa
import pyarrow.parquet as pq

from shotclock.bench.load.folder import SUMMARY as LOAD_SUMMARY
from shotclock.bench.load.folder import read_load
from shotclock.bench.load.schema import LoadSummary, Tail
from shotclock.bench.record.folder import RunFolder
from shotclock.bench.schema import ArmSummary, Latency, Percentile, Summary
from shotclock.domain import documents, encoding, files
from shotclock.domain.errors import MachineError, SettingsError

Direction = Literal["lower", "higher"]
VIRTUAL_ARMS = "virtual_arms"
"""The fact that names, separated by commas, the arms on the virtual clock of a run on the wall clock."""
NOT_A_SERIES = ("host", "qpu_calibration", VIRTUAL_ARMS)
"""Facts that differ from run to run of one thing: a runner's name, the night's calibration of a QPU; and the
clock of single arms, which `trend` finds metric by metric.
"""
_TABLES = """
CREATE TABLE IF NOT EXISTS runs (
  run_id TEXT PRIMARY KEY, kind TEXT NOT NULL, started_at TEXT NOT NULL, shotclock TEXT NOT NULL,
  emulated INTEGER NOT NULL, clock TEXT NOT NULL, environment_id TEXT NOT NULL, environment TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS figures (
  run_id TEXT NOT NULL REFERENCES runs(run_id), metric TEXT NOT NULL, unit TEXT NOT NULL,
  direction TEXT NOT NULL, n INTEGER NOT NULL, value REAL NOT NULL, bound REAL,
  PRIMARY KEY (run_id, metric)
) STRICT;
CREATE INDEX IF NOT EXISTS by_metric ON figures(metric);
"""
_COLUMNS = (
    "run_id",
    "kind",
    "started_at",
    "shotclock",
    "emulated",
    "clock",
    "environment_id",
    "metric",
    "unit",
    "direction",
    "n",
    "value",
    "bound",
)
_EVERYTHING = """
SELECT run_id, kind, started_at, shotclock, emulated, clock, environment_id, metric, unit, direction, n,
  value, bound, environment
FROM figures JOIN runs USING (run_id) ORDER BY started_at, run_id, metric
"""


@dataclass(frozen=True, slots=True)
class HistoryFigure:
    """A metric of one run.

    metric: its name.
    unit: of `value` and `bound`; "1" without one.
    direction: whether lower or higher is better.
    n: values it was made from.
    value: the figure itself.
    bound: the side of its confidence interval that a gate would look at; None without one.
    """

    metric: str
    unit: str
    direction: Direction
    n: int
    value: float
    bound: float | None


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A run as the history keeps it.

    run_id: unique.
    kind: bench or load.
    started_at: ISO 8601.
    shotclock: version.
    emulated: whether any QPU of it is emulated.
    clock: wall or virtual.
    environment: the machine, and what was asked of it.
    figures: its metrics.
    """

    run_id: str
    kind: Literal["bench", "load"]
    started_at: str
    shotclock: str
    emulated: bool
    clock: str
    environment: Mapping[str, str]
    figures: tuple[HistoryFigure, ...]

    @property
    def environment_id(self) -> str:
        """Equal where environments are, but for `NOT_A_SERIES`: others are different series."""
        facts = {name: fact for name, fact in sorted(self.environment.items()) if name not in NOT_A_SERIES}
        text = json.dumps(facts)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """One run's value in a metric's trend.

    run_id: the run.
    started_at: ISO 8601.
    shotclock: version.
    environment_id: see `Entry.environment_id`.
    emulated: whether any QPU of the run is emulated.
    clock: wall or virtual, of the arm that the metric is of.
    unit: of `value` and `bound`.
    direction: whether lower or higher is better.
    value: the figure itself.
    bound: see `HistoryFigure`; None without one.
    """

    run_id: str
    started_at: str
    shotclock: str
    environment_id: str
    emulated: bool
    clock: str
    unit: str
    direction: Direction
    value: float
    bound: float | None


def entry(folder: Path) -> HistoryEntry:
    """The entry of a run folder or of a load test's; SettingsError where it is neither."""
    if (folder / LOAD_SUMMARY).is_file():
        return _of_load(read_load(folder))
    return of_bench(RunFolder(folder).read_summary())


def of_bench(summary: Summary) -> HistoryEntry:
    """The entry of a bench run: what of its summary a trend is drawn from."""
    figures: list[HistoryFigure] = []
    for name, metric in summary.metrics.items():
        if isinstance(metric, Latency):
            figures += _percentiles(name, metric.n, metric.percentiles.items())
        elif metric.value is not None and _can_be(name, summary):
            figures.append(HistoryFigure(name, "ratio", "higher", metric.n, metric.value, metric.lower_bound))
    for name, arm in summary.arms.items():
        if arm.samples_per_s is not None:
            figures.append(
                HistoryFigure(f"{name}.samples_per_s", "1/s", "higher", arm.steps, arm.samples_per_s, None)
            )
        figures += _price(name, arm)
    return HistoryEntry(
        summary.run_id,
        "bench",
        summary.started_at,
        summary.shotclock,
        summary.emulated,
        summary.clock,
        _request_facts(summary) | summary.environment,
        tuple(figures),
    )


def _can_be(share: str, summary: Summary) -> bool:
    """A share of samples says nothing of an arm that asks no QPU for any."""
    arm, _, figure = share.partition(".")
    return figure != "quantum_share" or summary.arms[arm].calls_quantum


def _request_facts(summary: Summary) -> dict[str, str]:
    steps = max((arm.steps // max(1, len(arm.seeds)) for arm in summary.arms.values()), default=0)
    virtual = [name for name, arm in summary.arms.items() if arm.clock == "virtual" != summary.clock]
    facts = {VIRTUAL_ARMS: ",".join(virtual)} if virtual else {}
    return facts | {
        "workload": summary.workload,
        "kernel": summary.kernel,
        "n": str(summary.n),
        "shots": str(summary.shots),
        "steps": str(steps),
        "clock": summary.clock,
        "emulated": str(summary.emulated),
    }


def _price(name: str, arm: ArmSummary) -> list[HistoryFigure]:
    """What the training reached, and what it took: no price without a gain, no loss that diverged."""
    seeds, cost = len(arm.loss.per_seed), arm.cost
    figures: tuple[tuple[str, str, Direction, float | None], ...] = (
        ("loss", "1", "lower", arm.loss.mean),
        ("improvement", "1", "higher", arm.loss.improvement),
        ("compute_h", "h", "lower", cost.compute_h),
        ("qpu_s", "s", "lower", cost.qpu_s if arm.calls_quantum else None),
        ("compute_h_per_loss", "h", "lower", cost.compute_h_per_loss),
    )
    return [
        HistoryFigure(f"{name}.{figure}", unit, direction, seeds, value, None)
        for figure, unit, direction, value in figures
        if value is not None and math.isfinite(value)
    ]


def _of_load(summary: LoadSummary) -> HistoryEntry:
    figures: list[HistoryFigure] = []
    if summary.runs:
        run = summary.runs[summary.quoted]
        tails: dict[str, Tail] = {"latency": run.latency, "quantum_latency": run.quantum_latency}
        for name, tail in (tails | {"software": run.software, "issue_lag": run.issue_lag}).items():
            figures += _percentiles(f"load.{name}", tail.n, tail.percentiles.items())
        for name, share in (
            ("deadline_hit_ratio", run.deadline_hit_ratio),
            ("quantum_share", run.quantum_share),
        ):
            if share.value is not None:
                figures.append(
                    HistoryFigure(f"load.{name}", "ratio", "higher", share.n, share.value, share.lower_bound)
                )
        figures.append(
            HistoryFigure("load.goodput_per_s", "1/s", "higher", run.calls, run.goodput_per_s, None)
        )
    if summary.knee is not None and summary.knee.met_per_s is not None:
        figures.append(
            HistoryFigure("load.knee_per_s", "1/s", "higher", len(summary.runs), summary.knee.met_per_s, None)
        )
    return HistoryEntry(
        summary.run_id,
        "load",
        summary.started_at,
        summary.shotclock,
        summary.emulated,
        summary.clock,
        _load_facts(summary) | summary.environment,
        tuple(figures),
    )


def _load_facts(summary: LoadSummary) -> dict[str, str]:
    return {
        "scenario": str(summary.scenario),
        "rate": "sweep" if summary.knee is not None else f"{summary.rate_per_s:g}",
        "deadline_ms": f"{summary.deadline_ms:g}",
        "n": str(summary.n),
        "asked": summary.identity,
        "basis": summary.basis,
        "provider": summary.provider,
        "clock": summary.clock,
        "emulated": str(summary.emulated),
    }


def _percentiles(
    name: str, n: int, percentiles: Iterable[tuple[str, Percentile | str]]
) -> list[HistoryFigure]:
    """Those there are; a miss has no value to keep."""
    return [
        HistoryFigure(f"{name}.{quantile}_ms", "ms", "lower", n, percentile.value, percentile.upper_bound)
        for quantile, percentile in percentiles
        if isinstance(percentile, Percentile)
        and percentile.value is not None
        and math.isfinite(percentile.value)
    ]


MOST_BYTES = 1024 * files.MIB
MOST_ROWS = 2_000_000
LONGEST = 1 << 20
"""Of a value, in bytes."""
_Type = type | tuple[type, ...]
_Bound: _Type = (float, type(None))
_SCHEMA = {
    " ".join(statement.replace("IF NOT EXISTS ", "").split())
    for statement in _TABLES.split(";")
    if statement.strip()
}
_FLAGS = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI


class History:
    """The file, open; also a context. Raises MachineError where it cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.is_symlink():
            raise MachineError(f"{path}: is a symbolic link; name the file that it leads to")
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            raise MachineError(
                f"{path}: is larger than {MOST_BYTES // files.MIB:,} MiB, the most of a history"
            )
        try:
            self._connection = apsw.Connection(encoding.sqlite_name(path.resolve()), flags=_FLAGS)
            self._connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
            self._connection.limit(apsw.SQLITE_LIMIT_LENGTH, LONGEST)
            statements = self._schema()
            if not statements:
                self._connection.execute(_TABLES)
        except apsw.Error as error:
            raise MachineError(
                f"{path}: cannot be used as a history: {documents.describe_reason(error)}"
            ) from error
        if statements not in (set(), _SCHEMA):
            self._connection.close()
            raise MachineError(f"{path}: is an SQLite file and not a history; name another file")

    def __enter__(self) -> History:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def _schema(self) -> set[str]:
        """Its statements: a view or a trigger of somebody else's would run with our queries."""
        statements = self._connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
        return {" ".join(str(row[0]).split()) for row in statements}

    def _rows(
        self, query: str, types: tuple[_Type, ...], values: tuple[str, ...] = ()
    ) -> list[tuple[Any, ...]]:
        """What a query gives. SettingsError naming the run whose values a figure cannot have."""
        try:
            rows = list(self._connection.execute(query, values))
        except apsw.Error as error:
            raise MachineError(
                f"{self._path}: cannot be read as a history: {documents.describe_reason(error)}"
            ) from error
        if len(rows) > MOST_ROWS:
            raise SettingsError(f"{self._path}: has {len(rows):,} rows; the most is {MOST_ROWS:,}")
        for row in rows:
            odd = [value for value, kind in zip(row, types, strict=True) if not isinstance(value, kind)]
            odd += [
                value for value in row if isinstance(value, float) and not abs(value) <= documents.LARGEST
            ]
            where = f"{self._path}: run {str(row[0])[:60]!a}"
            if odd:
                raise SettingsError(f"{where}: has the value {str(odd[0])[:60]!a}; remove the run")
            try:
                documents.check(list(row))
            except documents.DocumentError as error:
                raise SettingsError(f"{where}: {error}; remove the run") from error
        return rows

    def add(self, new: HistoryEntry) -> bool:
        """Keeps a run, whole or not at all; whether it was new. The same run is kept once."""
        try:
            with self._connection:
                self._connection.execute(
                    "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    (
                        new.run_id,
                        new.kind,
                        new.started_at,
                        new.shotclock,
                        int(new.emulated),
                        new.clock,
                        new.environment_id,
                        json.dumps(dict(new.environment)),
                    ),
                )
                if not self._connection.changes():
                    return False
                self._connection.executemany(
                    "INSERT INTO figures VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [(new.run_id, f.metric, f.unit, f.direction, f.n, f.value, f.bound) for f in new.figures],
                )
        except apsw.Error as error:
            raise MachineError(
                f"{self._path}: cannot be written: {documents.describe_reason(error)}"
            ) from error
        return True

    def metrics(self) -> list[str]:
        """Every metric any run has."""
        rows = self._rows("SELECT DISTINCT metric FROM figures ORDER BY metric", (str,))
        return [row[0] for row in rows]

    def trend(self, metric: str) -> list[TrendPoint]:
        """A metric's values, the oldest run first; empty where no run has it."""
        rows = self._rows(
            "SELECT run_id, started_at, shotclock, environment_id, emulated, clock, unit, direction, value,"
            " bound, environment FROM figures JOIN runs USING (run_id) WHERE metric = ?"
            " ORDER BY started_at, run_id",
            (str, str, str, str, int, str, str, str, float, _Bound, str),
            (metric,),
        )
        return [
            TrendPoint(r[0], r[1], r[2], r[3], bool(r[4]), self._clock(r[0], metric, r[5], r[10]), *r[6:10])
            for r in rows
        ]

    def _clock(self, run: str, metric: str, clock: str, environment: str) -> str:
        """The clock of the arm that the metric is of."""
        arms = self._facts(run, environment).get(VIRTUAL_ARMS, "").split(",")
        return "virtual" if metric.partition(".")[0] in arms else clock

    def environments(self) -> dict[str, dict[str, str]]:
        """Every environment by its id, in the order they first ran."""
        rows = self._rows(
            "SELECT run_id, environment_id, environment FROM runs ORDER BY started_at, run_id", (str,) * 3
        )
        return {name: self._facts(run, text) for run, name, text in rows}

    def _facts(self, run: str, text: str) -> dict[str, str]:
        try:
            facts = documents.parse_json(text)
        except documents.DocumentError as error:
            raise SettingsError(f"{self._path}: run {run!a}: environment {error}; remove the run") from error
        if not isinstance(facts, dict) or not all(isinstance(fact, str) for fact in facts.values()):
            raise SettingsError(f"{self._path}: run {run!a}: its environment is not of texts; remove the run")
        return facts

    def export(self, path: Path) -> None:
        """Everything as one Parquet file, a row a run and a metric."""
        types = (*(str,) * 4, int, *(str,) * 5, int, float, _Bound, str)
        at, metric = _COLUMNS.index("clock"), _COLUMNS.index("metric")
        rows = [
            (*row[:at], self._clock(row[0], row[metric], row[at], row[-1]), *row[at + 1 :])
            for row in self._rows(_EVERYTHING, types)
        ]
        columns = {name: [row[place] for row in rows] for place, name in enumerate(_COLUMNS)}
        with files.replace(path) as file:  # Arrow itself opens no name that is not UTF-8
            pq.write_table(pa.table(columns), file, compression="zstd")
