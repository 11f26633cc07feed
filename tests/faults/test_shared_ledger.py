"""A ledger that orchestrators share: their lanes, rate and leases, and a server that is not there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from postgres_cluster import Cluster
from served import free_port
from shotclock import cli
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.domain.ledger import JobRecord, LedgerError, LedgerState
from shotclock.orchestrator.ledger import database, shared
from shotclock.orchestrator.ledger.limits import SharedLimits
from shotclock.orchestrator.ledger.places import find_place
from shotclock.orchestrator.ledger.postgres import PostgresLedger
from shotclock.orchestrator.ledger.transitions import AdoptedError, LanesBusyError, LedgerBusyError

S = LedgerState
LONG_S = 3_600.0
"""No lease runs out by itself."""
Open = Callable[[], PostgresLedger]


@pytest.fixture
def url(postgres: Cluster) -> str:
    with postgres.connect() as connection:
        connection.execute("DROP SCHEMA IF EXISTS shotclock CASCADE")
    return postgres.url()


@pytest.fixture
def join(url: str) -> Iterator[Open]:
    """Another orchestrator of the same ledger."""
    with contextlib.ExitStack() as stack:

        def open_ledger() -> PostgresLedger:
            ledger = PostgresLedger(url, time.time, term_s=LONG_S)
            return stack.enter_context(contextlib.closing(ledger))

        yield open_ledger


def record(tag: str) -> JobRecord:
    return JobRecord(tag, "scripted", (f"r-{tag}",), 256)


def end_lease(url: str, ledger: PostgresLedger) -> None:
    """As if it had run out, while the process knows nothing: it may be stopped, or cut off."""
    with database.open_to_read(url) as connection:
        shared.end_lease(connection, ledger.epoch)


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(300):
        while not condition():  # noqa: ASYNC110 - another thread
            await asyncio.sleep(0.01)


def test_all_orchestrators_together_use_as_many_lanes_as_the_provider_has(join: Open) -> None:
    async def main() -> None:
        ledgers = [join() for _ in range(3)]
        for ledger in ledgers:
            ledger.limit("scripted", SharedLimits(lanes=2))
        tries = await asyncio.gather(
            *(ledger.intend(record(f"{i}-{k}")) for i, ledger in enumerate(ledgers) for k in range(4)),
            return_exceptions=True,
        )
        assert sum(attempt is None for attempt in tries) == 2
        assert sum(isinstance(attempt, LanesBusyError) for attempt in tries) == 10
        first, second = await ledgers[0].jobs()
        waiting = asyncio.create_task(ledgers[2].wait_for_lane("scripted"))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await ledgers[int(first.tag[0])].move(first.tag, S.FAILED)
        await waiting
        await ledgers[2].intend(record("next"))
        with pytest.raises(LanesBusyError):
            await ledgers[1].intend(record("one more"))
        await ledgers[int(second.tag[0])].move(second.tag, S.PARKED)
        await ledgers[1].intend(record("parked jobs keep no lane where the limit says so"))

    asyncio.run(main())


def test_a_parked_job_keeps_its_lane_for_a_time(join: Open) -> None:
    async def main() -> None:
        ledger = join()
        ledger.limit("scripted", SharedLimits(lanes=1, parked_s=LONG_S))
        await ledger.intend(record("t"))
        await ledger.move("t", S.PARKED)
        with pytest.raises(LanesBusyError):
            await ledger.intend(record("u"))
        await ledger.move("t", S.FAILED)
        await ledger.intend(record("u"))

    asyncio.run(main())


def test_the_submission_rate_is_that_of_all_orchestrators(join: Open, url: str) -> None:
    ledgers = [join(), join()]
    limits = SharedLimits(submissions_per_minute=2.0)
    with database.open_to_read(url) as connection:
        waits_ns = [
            shared.write_intent(connection, record(f"t{i}"), limits, ledgers[i % 2].epoch, 0.0)
            for i in range(4)
        ]
    assert waits_ns[:2] == [0, 0]
    assert 0 < waits_ns[2] <= 30_000_000_000 < waits_ns[3] <= 60_000_000_000


def test_an_orchestrator_without_its_lease_submits_nothing_and_leaves_its_jobs_alone(
    join: Open, url: str
) -> None:
    async def main() -> None:
        stopped, other = join(), join()
        await stopped.intend(record("intent"))
        await stopped.intend(record("running"))
        await stopped.move("running", S.SUBMITTED, job_id="job-1")
        assert await other.adopt("scripted") == ()
        end_lease(url, stopped)
        with pytest.raises(LedgerBusyError, match="lease ran out"):
            await stopped.intend(record("late"))
        adopted = await other.adopt("scripted")
        assert {job.tag for job in adopted} == {"intent", "running"}
        assert await stopped.read_owned("scripted") == ()
        for tag, state in (("intent", S.SUBMITTED), ("running", S.RESULT)):
            with pytest.raises(AdoptedError, match="another replica"):
                await stopped.move(tag, state, job_id="job-1")
        await other.move("running", S.RESULT)
        await other.move("running", S.STALE)
        with pytest.raises(AdoptedError, match="running is stale"):
            await stopped.move("running", S.RESULT)
        assert {job.tag for job in await other.jobs()} == {"intent", "running"}

    asyncio.run(main())


def test_a_lease_that_ran_out_by_the_local_clock_is_never_renewed(url: str) -> None:
    now_s = [0.0]

    async def main(ledger: PostgresLedger) -> None:
        first = ledger.epoch
        await ledger.intend(record("t"))
        ledger.limit("scripted", SharedLimits(submissions_per_minute=60.0))
        # A stop between the intent and the submit: the wait for the rate stands for it.
        with database.open_to_read(url) as connection:
            connection.execute("UPDATE shotclock.providers SET tokens = 0.9, refilled_at = clock_timestamp()")
        submitting = asyncio.create_task(ledger.intend(record("late")))
        await wait_until(lambda: len(find_place(url).read_jobs()) == 2)
        now_s[0] += 1_000.0
        with pytest.raises(LedgerBusyError, match="before the submit"):
            await submitting
        await wait_until(lambda: ledger.epoch > first)
        with pytest.raises(AdoptedError):
            await ledger.move("t", S.SUBMITTED, job_id="job-1")
        adopted = await ledger.adopt("scripted")
        assert {job.tag for job in adopted} == {"t", "late"}
        await ledger.move("t", S.SUBMITTED, job_id="job-1")
        # by the task that submitted it, which knows nothing of the adoption
        with pytest.raises(AdoptedError):
            await ledger.move("t", S.SUBMITTED, job_id="job-1")

    with contextlib.closing(PostgresLedger(url, time.time, term_s=2.0, clock_s=lambda: now_s[0])) as opened:
        asyncio.run(main(opened))


def test_a_clean_stop_leaves_its_jobs_to_others_at_once(join: Open) -> None:
    async def main() -> None:
        first, second = join(), join()
        await first.intend(record("t"))
        first.close()
        with pytest.raises(LedgerError, match="closed"):
            await first.intend(record("u"))
        (adopted,) = await second.adopt("scripted")
        assert adopted.tag == "t"
        assert await second.adopt("another provider") == ()

    asyncio.run(main())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restart", "crash"])
def test_a_restart_of_the_server_loses_no_move_and_accepts_no_intent_meanwhile(
    postgres: Cluster, join: Open, how: signal.Signals
) -> None:
    async def main() -> None:
        ledger = join()
        epoch = ledger.epoch
        await ledger.intend(record("t"))
        await ledger.move("t", S.SUBMITTED, job_id="job-1")
        postgres.stop(how)
        try:
            with pytest.raises(LedgerBusyError, match="does not answer"):
                await ledger.intend(record("u"))
            moving = asyncio.create_task(ledger.move("t", S.RESULT))
            await asyncio.sleep(0.3)
            assert not moving.done()
            with pytest.raises(LedgerBusyError, match="does not answer"):
                await ledger.intend(record("v"))
        finally:
            postgres.start()
        await moving
        await ledger.move("t", S.APPLIED)
        assert ledger.epoch == epoch
        assert [(job.tag, job.state) for job in await ledger.jobs()] == [("t", S.APPLIED)]

    asyncio.run(main())


def test_an_intent_whose_commit_was_not_confirmed_is_closed_as_not_submitted(
    url: str, join: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        ledger = join()
        write_intent = shared.write_intent

        def commit_and_fail(connection: database.Connection, *words: object) -> int:
            monkeypatch.undo()
            wait_ns = write_intent(connection, *words)  # type: ignore[arg-type]
            connection.execute(
                "SELECT pg_sleep(0.5)"
            )  # the commit comes when the server has been asked again
            connection.execute("COMMIT")
            connection.close()
            return wait_ns

        monkeypatch.setattr(shared, "write_intent", commit_and_fail)
        with pytest.raises(LedgerBusyError):
            await ledger.intend(record("doubtful"))
        await ledger.intend(record("next"))
        jobs = {job.tag: job for job in await ledger.jobs()}
        assert jobs["doubtful"].state is S.FAILED
        assert "not submitted" in jobs["doubtful"].note
        assert jobs["next"].state is S.INTENT

    asyncio.run(main())


def test_a_move_that_was_committed_before_the_connection_broke_is_made_once(
    join: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        ledger = join()
        write_move = shared.write_move

        def commit_and_fail(connection: database.Connection, *words: object, **more: object) -> None:
            monkeypatch.undo()
            write_move(connection, *words, **more)  # type: ignore[arg-type]
            connection.execute("COMMIT")
            connection.close()

        await ledger.intend(record("t"))
        for state in (S.SUBMITTED, S.RESULT, S.APPLIED):
            monkeypatch.setattr(shared, "write_move", commit_and_fail)
            await ledger.move("t", state, job_id="job-1" if state is S.SUBMITTED else "")
        with pytest.raises(LedgerError, match="cannot become"):
            await ledger.move("t", S.APPLIED)

    asyncio.run(main())


def test_moves_of_a_job_that_were_committed_together_before_the_connection_broke_are_made_once(
    url: str, join: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        ledger = join()
        transact, commits, queued = database.transact, 0, threading.Event()

        @contextlib.contextmanager
        def break_after_commit(connection: database.Connection) -> Iterator[None]:
            nonlocal commits
            with transact(connection):
                queued.wait()
                yield
            commits += 1
            if commits == 2:  # the first group is a read, the second holds all of the moves
                monkeypatch.undo()
                connection.close()
                raise psycopg.OperationalError("the answer to the commit was lost")

        await ledger.intend(record("t"))
        monkeypatch.setattr(database, "transact", break_after_commit)
        reading = asyncio.create_task(ledger.jobs())
        await asyncio.sleep(0.1)
        moves = [ledger.move("t", S.SUBMITTED, job_id="job-1")]
        moves += [ledger.move("t", state) for state in (S.PARKED, S.SUBMITTED, S.RESULT, S.APPLIED)]
        moving = asyncio.gather(*moves)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        queued.set()
        await reading
        await moving
        assert commits == 2
        history = find_place(url).read_history("t")
        assert [line.after for line in history] == [
            S.INTENT,
            S.SUBMITTED,
            S.PARKED,
            S.SUBMITTED,
            S.RESULT,
            S.APPLIED,
        ]

    asyncio.run(main())


def test_a_person_settles_a_parked_job_while_orchestrators_run(url: str, join: Open) -> None:
    async def main() -> None:
        first, second = join(), join()
        for tag in ("ran", "lost", "running"):
            await first.intend(record(tag))
        for tag in ("ran", "lost"):
            await first.move(tag, S.PARKED)
        place = find_place(url)
        with pytest.raises(LedgerError, match="another replica"):
            place.settle(["lost", "running"], S.FAILED, "", "looked it up")
        assert len(place.read_longest_parked(5)) == 2  # all or none
        place.settle(["ran"], S.SUBMITTED, "job-7", "looked it up")
        place.settle(["lost"], S.FAILED, "", "looked it up")
        (collectable,) = await second.adopt("scripted")
        assert (collectable.tag, collectable.job_id) == ("ran", "job-7")

    asyncio.run(main())


def test_the_command_lists_and_settles_jobs_of_a_database(
    url: str, join: Open, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def park() -> None:
        ledger = join()
        await ledger.intend(record("shotclock:lost"))
        await ledger.move("shotclock:lost", S.PARKED, note="no answer")

    def jobs(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["shotclock", "jobs", *words, "--ledger", url, "--json"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        return capsys.readouterr().out

    asyncio.run(park())
    listed = json.loads(jobs())
    assert listed["ledger"] == url.replace("postgres@", "")
    assert [job["state"] for job in listed["jobs"]] == ["parked"]
    jobs("settle", "--all", "--as", "failed", "--note", "looked it up")
    steps = json.loads(jobs("history", "shotclock:lost"))["history"]
    assert [step["after"] for step in steps] == ["intent", "parked", "failed"]


def fails(url: str) -> str:
    """The one line with which opening the ledger fails."""
    with pytest.raises((MachineError, SettingsError)) as failure:
        PostgresLedger(url, time.time).close()
    (line,) = str(failure.value).splitlines()
    return line


def test_a_mistake_is_one_line_without_a_password(postgres: Cluster, url: str, tmp_path: Path) -> None:
    assert "Connection refused" in fails(f"postgresql://u@127.0.0.1:{free_port()}/db")
    assert 'database "nowhere" does not exist' in fails(postgres.url("nowhere"))
    for wrong in (
        "postgresql://u:hunter2@127.0.0.1/db",
        "postgresql://127.0.0.1/db?password=hunter2",
        "postgresql://u:hunter2%zz@127.0.0.1/db",
    ):
        line = fails(wrong)
        assert "hunter2" not in line
        assert line.startswith("serve.ledger: ")
    assert find_place("postgresql://u@h:1/db?passfile=/secret").name == "postgresql://h:1/db"
    with pytest.raises(SettingsError, match="no ledger at"):
        find_place(url).read_jobs()
    with postgres.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN")
        reader = url.replace("postgres@", "reader@")
        assert "grant CREATE on the database" in fails(reader)
        PostgresLedger(url, time.time).close()
        assert "permission denied" in fails(reader)
        connection.execute("ALTER ROLE reader SET synchronous_commit = off")
        assert "synchronous_commit is off" in fails(reader)
        connection.execute("UPDATE shotclock.schema_version SET version = 99")
    assert "has schema 99, this version reads 2" in fails(url)


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "shotclock.orchestrator.ledger.postgres_place", raising=False)
    for name in [name for name in sys.modules if name == "psycopg" or name.startswith("psycopg.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "shotclock.orchestrator.ledger.database", raising=False)
    monkeypatch.delattr("shotclock.orchestrator.ledger.database", raising=False)
    with pytest.raises(MachineError, match=r"'psycopg': install shotclock\[postgres\]$"):
        find_place("postgresql://h/db")


def test_orchestrators_that_start_together_create_the_tables_once(url: str) -> None:
    async def main() -> None:
        ledgers = await asyncio.gather(
            *(asyncio.to_thread(PostgresLedger, url, time.time, term_s=LONG_S) for _ in range(4))
        )
        assert len({ledger.epoch for ledger in ledgers}) == 4
        for ledger in ledgers:
            ledger.close()

    asyncio.run(main())
