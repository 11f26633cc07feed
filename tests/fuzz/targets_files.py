"""Files from elsewhere: whatever is in them, what comes of it is a result or an error of one line.

A target takes the content of one file. Those of a run folder take the folder too: the file's content is
replaced there, and everything that reads the folder is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from fuzz.promises import check_line, expect_one_line, write_new
from shotclock.app import integration, pairs
from shotclock.bench.compare.gate import compare
from shotclock.bench.compare.units import read_units
from shotclock.bench.history.store import History, entry
from shotclock.bench.history.trends import as_json, read_trends
from shotclock.bench.load.folder import read_calls, read_load
from shotclock.bench.record.folder import RunFolder
from shotclock.bench.record.samples import SAMPLES, read_samples
from shotclock.bench.verify import bench_run
from shotclock.bench.verify.check import verify
from shotclock.bench.verify.contradictions import Contradiction, collect
from shotclock.bench.verify.lock import check_loads
from shotclock.bench.verify.machine import check_machine
from shotclock.bench.verify.page import check_page
from shotclock.domain.documents import refuse_contradictions
from shotclock.emulator import fit
from shotclock.emulator import profile as profiles


def profile_file(content: bytes, folder: Path) -> None:
    """`--profile FILE`."""
    file = write_new(folder / "profile.toml", content)
    expect_one_line(lambda: profiles.load(str(file)))


def job_records(content: bytes, folder: Path) -> None:
    """`profile fit RECORDS`."""
    file = write_new(folder / "records.json", content)

    expect_one_line(lambda: fit.toml_of(fit.fit_profile(fit.read(file), "site", "test")))


def pairs_record(content: bytes, folder: Path) -> None:
    """`pairs --out FOLDER` of a folder with a pairs.json."""
    write_new(folder / "pairs.json", content)
    settings = write_new(folder / "a.toml", b"schema = 1\n")
    job = pairs.PairsJob(folder, (settings, settings), (("shotclock",), ("shotclock",)), ())
    expect_one_line(lambda: pairs.prepare(job))


def history_file(content: bytes, folder: Path) -> None:
    """`report --history FILE`."""
    file = write_new(folder / "history.db", content)
    read_history(file)


def read_history(file: Path) -> None:
    """What a report of trends reads."""

    def trends() -> None:
        with refuse_contradictions(file), History(file) as history:
            as_json(read_trends(history, ("*",)))
            history.export(file.with_name("export.parquet"))

    expect_one_line(trends)


def steps_file(content: bytes, folder: Path) -> None:
    """The parquet file of a run folder."""
    write_new(folder / "steps.parquet", content)

    def read() -> None:
        with refuse_contradictions(folder):
            RunFolder(folder).read_steps()

    expect_one_line(read)


def samples_file(content: bytes, folder: Path) -> None:
    """`samples.parquet`."""
    file = write_new(folder / SAMPLES, content)
    expect_one_line(lambda: read_samples(file))


def side_file(name: str, content: bytes, run: Path) -> None:
    """A file of a run folder that only `verify` reads, by the one check that reads it."""
    file = write_new(run / name, content)
    checks: dict[str, Callable[[], Iterator[Contradiction]]] = {
        "machine.json": lambda: check_machine(file, {"cpu": "one"}, "summary.json"),
        "config.lock.toml": lambda: check_loads(file),
        "report.html": lambda: check_page(file, "run-1", emulated=True),
        "latency.hlog": lambda: bench_run.check_log(run, [], RunFolder(run).read_summary()),
        "trace.pftrace": lambda: bench_run.check_trace(run, [], RunFolder(run).read_summary()),
    }
    for fault in collect(name, checks[name]()):
        check_line(str(fault))


SIDE_FILES = ("machine.json", "config.lock.toml", "report.html", "latency.hlog", "trace.pftrace")


def run_file(name: str, content: bytes, run: Path) -> None:
    """A file of a run folder, read by `verify`, `compare`, `report`, `verify --record` and `doctor --run`."""
    write_new(run / name, content)
    read_run(run)


def read_run(run: Path) -> None:
    """Everything but the drawing of charts."""

    def list_runs() -> None:
        for fault in verify(run):
            check_line(str(fault))

    def compare_runs() -> None:
        with refuse_contradictions(run):
            compare(read_units(run), read_units(run), ())

    def report_run() -> None:
        with refuse_contradictions(run):
            if (run / "load.json").is_file():
                read_load(run)
                read_calls(run)
            else:
                RunFolder(run).read_summary()
                RunFolder(run).read_steps()
            entry(run)

    def check_run() -> None:
        with refuse_contradictions(run):
            integration.of_run(run)

    for command in (list_runs, compare_runs, report_run, check_run):
        expect_one_line(command)
