"""Files from elsewhere, hostile and mutated: one line each, within memory and time."""

from __future__ import annotations

import copy
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import hostile_files, run_folders, targets_files
from fuzz.promises import check_line
from shotclock.bench import parquet
from shotclock.bench.history.store import History, HistoryEntry, HistoryFigure
from shotclock.bench.history.trends import as_json, read_trends
from shotclock.bench.record.rows import SCHEMA
from shotclock.bench.record.samples import SAMPLES
from shotclock.domain.errors import MachineError, SettingsError, ShotclockError

TESTS = Path(__file__).parents[1]
GROWS_BY_MIB = 300
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1e150,
    1e308,
    -1e-320,
    2**62,
    10**30,
    "",
    "NaN",
    "-Infinity",
    "../../x",
    "[/bold]",
    "\x1b[2J",
    "\ud800",
    "x" * 70_000,
    [],
    {},
    [[]],
    {"a": {}},
)
FIGURE = HistoryFigure("load.latency.p99_ms", "ms", "lower", 1_000, 12.5, 13.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run folder, valid but for its report."""
    return run_folders.make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def load_test(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small load test's folder, valid but for its report."""
    return run_folders.make_load(tmp_path_factory.mktemp("loads"))


HOSTILE = """
import resource, sys, time
from pathlib import Path
from fuzz import hostile_files, targets_service, targets_files as targets
run, load, folder = map(Path, sys.argv[1:])
def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
contents = {name: make() for name, make in hostile_files.CONTENTS.items()}
targets.read_run(run), targets.read_run(load)
before = peak_mib()
kept = {file: file.read_bytes() for file in (run / "summary.json", run / "steps.parquet",
                                             run / "samples.parquet",
                                             load / "load.json", load / "calls.parquet")}
for name, content in contents.items():
    print(name, flush=True)
    for target in (targets_service.settings_file, targets_service.flags_file, targets_service.ledger_file,
                   targets.profile_file, targets.job_records, targets.pairs_record, targets.history_file):
        target(content, folder)
    for file in targets.SIDE_FILES:
        targets.side_file(file, content, run)
    for file, whole in kept.items():
        targets.run_file(file.name, content, file.parent)
        file.write_bytes(whole)
print(f"grew {peak_mib() - before:.0f}")
"""


def test_hostile_contents_are_one_line_within_memory_and_time(
    whole: Path, load_test: Path, tmp_path: Path
) -> None:
    folders = [copytree(whole, tmp_path / "run"), copytree(load_test, tmp_path / "load"), tmp_path]
    ended = subprocess.run(
        [sys.executable, "-c", HOSTILE, *map(str, folders)],
        env={**os.environ, "PYTHONPATH": f"{TESTS}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stdout[-500:] + ended.stderr[-3_000:]
    *names, last = ended.stdout.splitlines()
    assert names == list(hostile_files.CONTENTS)
    assert float(last.removeprefix("grew ")) < GROWS_BY_MIB


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("repeated text of parquet", "arm: has texts of more than 10,000 bytes"),
        ("rows of parquet", "has 5,000,000 rows; the most is 1,000,000"),
        ("nested columns of parquet", "step: is of type list<"),
        ("columns of parquet", "has 5,003 columns; the most is 1,000"),
        ("footer of parquet", "its footer has 4,294,967,295 bytes"),
    ],
)
def test_parquet_is_refused_by_what_its_footer_says(name: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "steps.parquet"
    file.write_bytes(hostile_files.CONTENTS[name]())
    with pytest.raises(SettingsError, match=message):
        parquet.read_table(file, SCHEMA, required=(), most_rows=1_000_000)


def places(document: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The way to every value of a JSON document, itself left out."""
    keys = document.keys() if isinstance(document, dict) else range(len(document))
    paths: list[tuple[str | int, ...]] = []
    for key in keys:
        paths.append((*at, key))
        if isinstance(document[key], dict | list):
            paths += places(document[key], (*at, key))
    return paths


def mutate(document: Any, draw: Callable[[Any], Any], known: list[tuple[str | int, ...]]) -> bytes:
    """The document with one value replaced, removed, or put under another key."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(known))
        inner = changed
        try:
            for key in way:
                inner = inner[key]
            match draw(st.sampled_from(("replace", "replace", "remove", "rename"))):
                case "replace":
                    inner[last] = draw(st.sampled_from(VALUES))
                case "remove":
                    del inner[last]
                case _:
                    inner[f"{last}x"] = inner.pop(last)
        except (KeyError, IndexError, TypeError, AttributeError):
            continue  # the first change removed it
    return json.dumps(changed).encode()


@settings(max_examples=20)
@given(data=st.data())
def test_a_mutated_summary_is_one_line(data: st.DataObject, whole: Path, tmp_path_factory: Any) -> None:
    run = copytree(whole, tmp_path_factory.mktemp("mutated") / "run")
    document = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    targets_files.run_file("summary.json", mutate(document, data.draw, places(document)), run)


@settings(max_examples=20)
@given(data=st.data())
def test_a_mutated_load_test_is_one_line(data: st.DataObject, load_test: Path, tmp_path_factory: Any) -> None:
    run = copytree(load_test, tmp_path_factory.mktemp("mutated") / "load")
    document = json.loads((run / "load.json").read_text(encoding="utf-8"))
    targets_files.run_file("load.json", mutate(document, data.draw, places(document)), run)


NUMBERS = (None, -1, 0, 1, 2**31, 10**17, 2**63 - 1, -(2**63))
FLOATS = (None, 0.0, -1.0, 1e150, 1e308, float("nan"), float("inf"), -5e-324)
TEXTS = (None, "", "x" * 20_000, "\x1b[2J", "[/bold]", "../../x", "done", "hybrid-colocated")


def mutate_table(table: pa.Table, draw: Callable[[Any], Any]) -> bytes:
    """One column with other values, of another type, under another name, twice, or gone; or flipped bytes."""
    name = draw(st.sampled_from(table.column_names))
    place = table.column_names.index(name)
    column = table[name].to_pylist()
    change = draw(st.sampled_from(("values", "values", "values", "type", "name", "twice", "gone", "bytes")))
    if change == "values":
        kind = table[name].type
        odd = {pa.string(): TEXTS, pa.float64(): FLOATS, pa.bool_(): (None, True, False)}.get(kind, NUMBERS)
        value, share = draw(st.sampled_from(odd)), draw(st.sampled_from((1, 3, len(column))))
        column = [value if row % share == 0 else other for row, other in enumerate(column)]
        table = table.set_column(place, table.schema.field(name), pa.array(column, kind))
    elif change == "type":
        kind = draw(st.sampled_from((pa.string(), pa.int32(), pa.list_(pa.int64()), pa.null(), pa.date32())))
        table = table.set_column(place, name, pa.nulls(len(column), kind))
    elif change == "name":
        names = [f"{name}\x00" if column_name == name else column_name for column_name in table.column_names]
        table = table.rename_columns(names)
    elif change == "twice":
        table = table.append_column(name, table[name])
    elif change == "gone":
        table = table.drop_columns([name])
    content = bytearray(hostile_files.parquet(table))
    if change == "bytes":
        for _ in range(draw(st.integers(1, 8))):
            content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content)


@pytest.mark.parametrize("name", ["steps.parquet", "calls.parquet", SAMPLES])
@settings(max_examples=25)
@given(data=st.data())
def test_mutated_rows_are_one_line(
    name: str, data: st.DataObject, whole: Path, load_test: Path, tmp_path_factory: Any
) -> None:
    source = load_test if name == "calls.parquet" else whole
    run = copytree(source, tmp_path_factory.mktemp("mutated") / "run")
    targets_files.run_file(name, mutate_table(pq.read_table(run / name), data.draw), run)


@settings(max_examples=40)
@given(data=st.data())
def test_flipped_bytes_of_the_other_files_are_one_line(
    data: st.DataObject, whole: Path, tmp_path_factory: Any
) -> None:
    run = copytree(whole, tmp_path_factory.mktemp("mutated") / "run")
    (run / "report.html").write_text("<html><p a='b'>run-1 EMULATED</p></html>", encoding="utf-8")
    name = data.draw(st.sampled_from(targets_files.SIDE_FILES))
    content = bytearray((run / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, min(len(content), 2_000) - 1))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=6))
    targets_files.side_file(name, bytes(content), run)


HISTORY_ENTRY = HistoryEntry(
    "run-1", "load", "2026-11-20T10:00:00", "0.1.0", True, "wall", {"cpu": "one"}, (FIGURE,)
)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE figures SET value = 1e308", "run 'run-1': has the value '1e+308'; remove the run"),
        ("UPDATE figures SET value = 9e999", "has the value 'inf'"),
        ("UPDATE figures SET bound = -1e200", "has the value '-1e+200'"),
        ("UPDATE runs SET started_at = char(27) || '[2J'", r"has the control character '\x1b'"),
        ("UPDATE runs SET environment = '[1]'", "its environment is not of texts"),
        ("UPDATE runs SET environment = '[[['", "is not valid JSON"),
        ("UPDATE figures SET metric = printf('%.2000000c', 'x')", "too big"),
        (
            "UPDATE sqlite_schema SET sql = replace(sql, 'run_id', '[' || char(10, 27)) "
            "WHERE name = 'figures'",
            "cannot be used as a history: malformed database schema (figures)",
        ),
        ("DROP TABLE runs", "is an SQLite file and not a history"),
        ("CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM figures; END", "is an SQLite file and not"),
        ("ALTER TABLE figures ADD COLUMN more TEXT", "is an SQLite file and not a history"),
    ],
)
def test_a_history_of_somebody_else_is_one_line(statement: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    with History(file) as history:
        history.add(HISTORY_ENTRY)
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(statement)
    connection.close()

    def report() -> None:
        with History(file) as opened:
            as_json(read_trends(opened, ("*",)))

    with pytest.raises(ShotclockError) as caught:
        report()
    check_line(str(caught.value))
    assert message in str(caught.value)


def test_a_foreign_database_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "mail.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE mail (subject TEXT)")
    connection.close()
    before = file.read_bytes()
    with pytest.raises(MachineError, match="is an SQLite file and not a history"):
        History(file)
    assert file.read_bytes() == before


@settings(max_examples=40)
@given(data=st.data())
def test_flipped_bytes_of_a_history_are_one_line(data: st.DataObject, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("histories")
    with History(folder / "whole.db") as history:
        history.add(HISTORY_ENTRY)
    content = bytearray((folder / "whole.db").read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    targets_files.history_file(bytes(content), folder)
