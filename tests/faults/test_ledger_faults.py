"""The ledger on a bad day: a disk that fails, a process that is killed, a file that is something else."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from disk import EIO_ON_SYNC, FULL, Disk, Gate, fault
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.domain.ledger import JobRecord, LedgerError, LedgerState
from shotclock.orchestrator.ledger import file as ledger_file
from shotclock.orchestrator.ledger import sqlite as sqlite_ledger
from shotclock.orchestrator.ledger.sqlite import SqliteLedger
from shotclock.orchestrator.ledger.transitions import LedgerBusyError

S = LedgerState


def open_ledger(folder: Path, disk: Disk | None = None, queue_limit: int = 1024) -> SqliteLedger:
    vfs = disk.name if disk else "unix"
    return SqliteLedger(folder / "ledger.db", time.time, vfs=vfs, queue_limit=queue_limit)


def record(tag: str) -> JobRecord:
    return JobRecord(tag, "scripted", ("r1",), 256)


def tags(path: Path) -> set[str]:
    """What a new start finds, after its checks."""
    with contextlib.closing(SqliteLedger(path, time.time)) as ledger:
        return {job.tag for job in asyncio.run(ledger.jobs())}


async def wait_reached(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.reached.wait, 30)


def raises(code: int, suffix: str) -> Callable[[str], None]:
    """A sync fault of one of the ledger's files."""

    def raise_fault(at: str) -> None:
        if at == suffix:
            raise fault(code)

    return raise_fault


# a disk that fails


def test_after_a_failed_sync_all_callers_get_an_error_and_nothing_is_synced_again(tmp_path: Path) -> None:
    disk, gate = Disk(), Gate()

    async def main(ledger: SqliteLedger) -> None:
        await ledger.intend(record("kept"))

        def fails(suffix: str) -> None:
            gate(suffix)
            raise fault(EIO_ON_SYNC)

        disk.sync_fault = fails
        syncing = asyncio.create_task(ledger.intend(record("syncing")))
        await wait_reached(gate)
        queued = [asyncio.create_task(ledger.intend(record(f"queued-{i}"))) for i in range(5)]
        await asyncio.sleep(0)
        syncs, writes = disk.syncs.total(), disk.writes.total()
        gate.open()
        results = asyncio.gather(syncing, *queued, return_exceptions=True)
        answers = await asyncio.wait_for(results, 30)
        assert all(isinstance(answer, LedgerError) and "stopped" in str(answer) for answer in answers), (
            answers
        )
        for call in (ledger.intend(record("later")), ledger.move("kept", S.FAILED)):
            with pytest.raises(LedgerError, match="stopped"):
                await call
        with pytest.raises(LedgerError, match="stopped"):
            await ledger.jobs()
        ledger.close()
        assert (disk.syncs.total(), disk.writes.total()) == (syncs, writes)

    asyncio.run(main(open_ledger(tmp_path, disk)))
    assert {"kept"} <= tags(tmp_path / "ledger.db") <= {"kept", "syncing"}


def test_a_full_disk_stops_the_ledger_and_what_was_acknowledged_is_kept(tmp_path: Path) -> None:
    disk = Disk()

    def full(suffix: str, size: int) -> int:
        raise fault(FULL)

    async def main(ledger: SqliteLedger) -> None:
        await ledger.intend(record("kept"))
        disk.write_fault = full
        with pytest.raises(LedgerError, match="full"):
            await ledger.move("kept", S.PARKED)
        disk.write_fault = lambda suffix, size: size
        with pytest.raises(LedgerError, match="full"):
            await ledger.intend(record("later"))

    with contextlib.closing(open_ledger(tmp_path, disk)) as ledger:
        asyncio.run(main(ledger))
    with contextlib.closing(open_ledger(tmp_path)) as ledger:
        (job,) = asyncio.run(ledger.jobs())
    assert (job.tag, job.state) == ("kept", S.INTENT)


@pytest.mark.parametrize("reaches", [0, 1, 23, 24, 600, 4095])
@pytest.mark.parametrize("write", [1, 2, 3, 4])
def test_a_write_that_is_cut_short_loses_nothing_that_was_acknowledged(
    tmp_path: Path, write: int, reaches: int
) -> None:
    disk = Disk()
    numbers = itertools.count(1)

    async def main(ledger: SqliteLedger) -> None:
        await ledger.intend(record("kept"))
        disk.write_fault = lambda suffix, size: min(reaches, size - 1) if next(numbers) == write else size
        with pytest.raises(LedgerError, match="stopped"):
            await ledger.intend(record("torn"))

    with contextlib.closing(open_ledger(tmp_path, disk)) as ledger:
        asyncio.run(main(ledger))
    assert tags(tmp_path / "ledger.db") == {"kept"}


def test_a_checkpoint_that_cannot_be_synced_stops_the_ledger_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SQLite's own checkpoints would keep such an error to themselves
    monkeypatch.setattr(sqlite_ledger, "CHECKPOINT_PAGES", 6)
    disk = Disk()
    acknowledged = []

    async def write(ledger: SqliteLedger) -> None:
        for i in range(20):
            await ledger.intend(record(f"job-{i}"))
            acknowledged.append(f"job-{i}")

    async def main(ledger: SqliteLedger) -> None:
        disk.sync_fault = raises(EIO_ON_SYNC, "")
        with pytest.raises(LedgerError, match="stopped"):
            await write(ledger)

    with contextlib.closing(open_ledger(tmp_path, disk)) as ledger:
        asyncio.run(main(ledger))
    assert 0 < len(acknowledged) < 20
    assert tags(tmp_path / "ledger.db") == set(acknowledged)


def test_what_was_acknowledged_survives_a_power_cut_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_ledger, "CHECKPOINT_PAGES", 12)
    disk = Disk()
    acknowledged: list[str] = []
    cuts: list[tuple[Path, set[str]]] = []

    def cut(suffix: str) -> None:
        cuts.append((disk.after_a_power_cut(tmp_path / f"cut-{len(cuts)}"), set(acknowledged)))

    async def main(ledger: SqliteLedger) -> None:
        disk.sync_fault = cut
        for i in range(30):
            await ledger.intend(record(f"job-{i}"))
            acknowledged.append(f"job-{i}")

    with contextlib.closing(open_ledger(tmp_path, disk)) as ledger:
        asyncio.run(main(ledger))
    assert disk.syncs[""] > 3  # some of them were during checkpoints
    assert len(cuts) > 30
    for copy, known in cuts:
        assert known <= tags(copy)


def test_a_file_that_may_not_grow_is_reported_and_keeps_its_records(tmp_path: Path) -> None:
    # a limit of the system, not of a test: writes past 64 KiB fail
    limited = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", limited + WRITER, tmp_path], capture_output=True, text=True, check=False
    )
    assert "LedgerError: the ledger" in ended.stderr
    assert len(ended.stdout.split()) > 3
    assert set(ended.stdout.split()) <= tags(tmp_path / "ledger.db")


# a process that is killed

WRITER = """
import asyncio, sys, time
from pathlib import Path
from shotclock.domain.ledger import JobRecord
from shotclock.orchestrator.ledger.sqlite import SqliteLedger

ledger = SqliteLedger(Path(sys.argv[1]) / "ledger.db", time.time)

async def write(lane):
    for i in range(1_000_000):
        await ledger.intend(JobRecord(f"{lane}-{i}", "scripted", ("r1",), 256))
        print(f"{lane}-{i}", flush=True)

async def main():
    await asyncio.gather(*(write(lane) for lane in range(4)))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    script = tmp_path_factory.mktemp("writer") / "writer.py"
    script.write_text(WRITER)
    return script


@pytest.mark.parametrize(
    "lines", [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 4, 7, 11, 18, 29, 47, 76, 123, 300, 600]
)
def test_every_printed_intent_is_there_after_sigkill(tmp_path: Path, writer: Path, lines: int) -> None:
    process = subprocess.Popen([sys.executable, writer, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = [process.stdout.readline() for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    remaining_output, _ = process.communicate()
    whole = "".join(printed) + remaining_output
    acknowledged = set(whole[: whole.rfind("\n")].split())
    assert len(acknowledged) >= lines
    stored = tags(tmp_path / "ledger.db")
    assert acknowledged <= stored
    assert len(stored - acknowledged) <= 4  # one a lane may have been synced and not yet printed


# one writer, many readers


def test_writes_that_queue_while_a_sync_runs_share_the_next_one(tmp_path: Path) -> None:
    disk, gate = Disk(), Gate()

    async def main(ledger: SqliteLedger) -> None:
        await ledger.intend(record("before"))
        syncs = disk.syncs["-wal"]
        disk.sync_fault = gate
        first = asyncio.create_task(ledger.intend(record("first")))
        await wait_reached(gate)
        others = [asyncio.create_task(ledger.intend(record(f"other-{i}"))) for i in range(40)]
        await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(first, *others)
        assert disk.syncs["-wal"] == syncs + 2
        await ledger.intend(record("after"))
        assert disk.syncs["-wal"] == syncs + 3

    with contextlib.closing(open_ledger(tmp_path, disk)) as ledger:
        asyncio.run(main(ledger))


def test_a_full_queue_takes_no_intent_but_every_move(tmp_path: Path) -> None:
    disk, gate = Disk(), Gate()

    async def main(ledger: SqliteLedger) -> None:
        await ledger.intend(record("known"))
        disk.sync_fault = gate
        first = asyncio.create_task(ledger.intend(record("first")))
        await wait_reached(gate)
        waiting = [asyncio.create_task(ledger.intend(record(f"waiting-{i}"))) for i in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(LedgerBusyError, match="3 writes behind"):
            await asyncio.wait_for(ledger.intend(record("too many")), 10)
        move = asyncio.create_task(ledger.move("known", S.SUBMITTED, job_id="job-1"))
        await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(first, move, *waiting)
        await ledger.intend(record("later"))

    with contextlib.closing(open_ledger(tmp_path, disk, queue_limit=3)) as ledger:
        asyncio.run(main(ledger))
    assert tags(tmp_path / "ledger.db") == {"known", "first", "later", *(f"waiting-{i}" for i in range(3))}


def test_close_finishes_what_was_asked_and_refuses_the_rest(tmp_path: Path) -> None:
    async def main(ledger: SqliteLedger) -> None:
        intents = [asyncio.create_task(ledger.intend(record(f"job-{i}"))) for i in range(200)]
        await asyncio.sleep(0)
        ledger.close()
        await asyncio.gather(*intents)
        with pytest.raises(LedgerError, match="closed"):
            await ledger.intend(record("later"))
        ledger.close()

    asyncio.run(main(open_ledger(tmp_path)))
    assert len(tags(tmp_path / "ledger.db")) == 200
    assert {file.name for file in tmp_path.iterdir()} == {"ledger.db", "ledger.db.lock"}


def test_one_orchestrator_holds_it_and_others_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    (tmp_path / "by-another-name.db").symlink_to(path)
    with contextlib.closing(open_ledger(tmp_path)) as ledger:
        for name in (path, tmp_path / "by-another-name.db"):
            with pytest.raises(
                MachineError, match=f"another orchestrator holds {path} .process {os.getpid()}"
            ):
                SqliteLedger(name, time.time)
        there = subprocess.run(
            [sys.executable, "-c", WRITER, tmp_path], capture_output=True, text=True, check=False
        )
        assert f"another orchestrator holds {path}" in there.stderr
        with ledger_file.open_to_read(path) as reading:
            assert ledger_file.read_jobs(reading) == ()
            asyncio.run(ledger.intend(record("meanwhile")))
            assert [job.tag for job in ledger_file.read_jobs(reading)] == ["meanwhile"]
    assert tags(path) == {"meanwhile"}


def test_a_forked_child_can_neither_write_nor_keep_the_file_held(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    asyncio.run(ledger.intend(record("parent's")))
    listen, go_on = os.pipe()
    child = os.fork()
    if not child:
        os.close(go_on)
        refused = 1
        with contextlib.suppress(BaseException):
            try:
                asyncio.run(ledger.intend(record("child's")))
            except LedgerError as error:
                refused = 0 if "forked" in str(error) else 2
            ledger.close()
            os.read(listen, 1)
        os._exit(refused)
    os.close(listen)
    ledger.close()
    try:
        assert tags(tmp_path / "ledger.db") == {"parent's"}  # the child lives, and holds nothing
    finally:
        os.close(go_on)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended == 0


def test_closing_frees_the_file_before_a_forked_child_has_let_go_of_it(tmp_path: Path) -> None:
    read_end, let_go = os.pipe()
    in_time = [True]  # handlers stay for good: later forks must not wait
    os.register_at_fork(after_in_child=lambda: in_time and os.read(read_end, 1))  # runs before the ledger's
    ledger = open_ledger(tmp_path)
    asyncio.run(ledger.intend(record("parent's")))
    child = os.fork()
    if not child:
        os._exit(0)
    in_time.clear()
    ledger.close()
    try:
        assert tags(tmp_path / "ledger.db") == {"parent's"}
    finally:
        os.write(let_go, b".")
        os.waitpid(child, 0)


# a file that is something else


def foreign_text(path: Path) -> None:
    path.write_text("tags, as a list\n" * 100)


def foreign_database(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE jobs (tag TEXT)")


def newer(path: Path) -> None:
    SqliteLedger(path, time.time).close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 3")


def other_tables(path: Path) -> None:
    SqliteLedger(path, time.time).close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TRIGGER greedy AFTER INSERT ON jobs BEGIN DELETE FROM history; END")


def page_of_zeros(path: Path) -> None:
    with contextlib.closing(SqliteLedger(path, time.time)) as ledger:
        asyncio.run(ledger.intend(record("kept")))
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(4096))


def truncate_file(path: Path) -> None:
    page_of_zeros(path)
    os.truncate(path, 6000)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (foreign_text, SettingsError, "not a ledger of Shotclock"),
        (foreign_database, SettingsError, "not a ledger of Shotclock"),
        (newer, MachineError, "has schema 3, this version reads 2"),
        (other_tables, MachineError, "damaged"),
        (page_of_zeros, MachineError, "damaged"),
        (truncate_file, MachineError, "damaged"),
        (Path.mkdir, MachineError, "cannot use the ledger"),
    ],
)
def test_a_file_that_is_no_whole_ledger_is_refused_and_left_as_it_was(
    tmp_path: Path, make: Callable[[Path], None], error: type[Exception], words: str
) -> None:
    path = tmp_path / "ledger.db"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    for _ in range(2):  # and the lock is let go of
        with pytest.raises(error, match=words) as caught:
            SqliteLedger(path, time.time)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_stop_before_the_first_transaction_left_an_empty_file_that_serves(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.touch()
    assert tags(path) == set()
    with contextlib.closing(apsw.Connection(str(tmp_path / "wal.db"))) as connection:
        connection.pragma("journal_mode", "wal")
    assert tags(tmp_path / "wal.db") == set()


@pytest.mark.parametrize("folder", ["/proc", "/no/such/folder"])
def test_a_folder_that_takes_no_file_is_one_line(folder: str) -> None:
    with pytest.raises(
        MachineError, match=f"cannot write {folder}/ledger.db.lock: .* must exist and be writable"
    ):
        SqliteLedger(Path(folder) / "ledger.db", time.time)


def test_a_read_only_file_is_reported_at_the_start(tmp_path: Path) -> None:
    open_ledger(tmp_path).close()
    disk = Disk()
    disk.readonly = True
    with pytest.raises(MachineError, match="is not writable by this user"):
        open_ledger(tmp_path, disk)


@pytest.mark.parametrize(
    ("version", "bad"),
    [
        ("3.6.23", False),
        ("3.7.0", True),
        ("3.40.1", True),
        ("3.51.2", True),
        ("3.51.3", False),
        ("3.54.1", False),
    ],
)
def test_an_sqlite_with_the_wal_reset_bug_is_refused(tmp_path: Path, version: str, bad: bool) -> None:
    path = tmp_path / "ledger.db"
    if bad:
        with pytest.raises(MachineError, match=rf"SQLite {version} .*apsw>=3\.51\.3"):
            SqliteLedger(path, time.time, sqlite_version=version)
        assert not path.exists()
    else:
        SqliteLedger(path, time.time, sqlite_version=version).close()


@pytest.mark.parametrize(
    ("where", "path"),
    [
        ("a/b.db", "a/b.db"),
        ("/a/b.db", "/a/b.db"),
        ("sqlite:///a/b.db", "/a/b.db"),
        ("mysql://h/db", ""),
        ("sqlite://a/b.db", ""),
        ("sqlite://", ""),
        ("", ""),
    ],
)
def test_a_ledger_is_named_by_a_path_or_an_sqlite_url(where: str, path: str) -> None:
    if path:
        assert ledger_file.ledger_path(where) == Path(path).resolve()
    else:
        with pytest.raises(SettingsError, match="sqlite:///absolute/path"):
            ledger_file.ledger_path(where)
