"""What every Ledger must do, run against each of them, and the durable ones held against memory."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from postgres_cluster import Cluster
from shotclock.domain.ledger import NEXT_STATES, JobRecord, LedgerError, LedgerState
from shotclock.domain.ports import Ledger
from shotclock.orchestrator.ledger.memory import MemoryLedger
from shotclock.orchestrator.ledger.places import LedgerPlace, find_place
from shotclock.orchestrator.ledger.postgres import PostgresLedger
from shotclock.orchestrator.ledger.sqlite import SqliteLedger
from shotclock.orchestrator.ledger.transitions import Transition

S = LedgerState
Call = Coroutine[Any, Any, None]
Make = Callable[[Callable[[], float]], Ledger]

WAYS: dict[LedgerState, tuple[LedgerState, ...]] = {
    S.INTENT: (),
    S.SUBMITTED: (S.SUBMITTED,),
    S.RESULT: (S.SUBMITTED, S.RESULT),
    S.APPLIED: (S.SUBMITTED, S.RESULT, S.APPLIED),
    S.STALE: (S.SUBMITTED, S.RESULT, S.STALE),
    S.FAILED: (S.FAILED,),
    S.PARKED: (S.PARKED,),
}
"""A legal way from the intent to every state."""


LONG_S = 3_600.0
"""No lease runs out here."""


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    with contextlib.ExitStack() as stack:

        def make_ledger(now_unix_s: Callable[[], float]) -> Ledger:
            if request.param == "memory":
                return MemoryLedger(now_unix_s)
            ledger: SqliteLedger | PostgresLedger
            if request.param == "sqlite":
                ledger = SqliteLedger(tmp_path / "ledger.db", now_unix_s)
            else:
                cluster: Cluster = request.getfixturevalue("postgres")
                ledger = PostgresLedger(empty(cluster), now_unix_s, term_s=LONG_S)
            return stack.enter_context(contextlib.closing(ledger))

        yield make_ledger


def empty(cluster: Cluster) -> str:
    """The URL of a database without a ledger."""
    with cluster.connect() as connection:
        connection.execute("DROP SCHEMA IF EXISTS shotclock CASCADE")
    return cluster.url()


def make_step_clock() -> Callable[[], float]:
    """A wall clock that shows 1, 2, 3 …"""
    return map(float, itertools.count(1)).__next__


def record(tag: str = "t", *requests: str) -> JobRecord:
    return JobRecord(tag, "scripted", requests or ("r1",), 256)


async def move_to_end(ledger: Ledger, tag: str, *states: LedgerState) -> None:
    for state in states:
        await ledger.move(tag, state, job_id="job-1" if state is S.SUBMITTED else "")


def test_a_job_is_held_with_all_it_went_through(make: Make) -> None:
    async def main() -> None:
        ledger = make(make_step_clock())
        await ledger.intend(record("t", "r1", "r2"))
        intent = JobRecord("t", "scripted", ("r1", "r2"), 256, changed_unix_s=1.0)
        assert await ledger.jobs() == (intent,)
        await ledger.move("t", S.SUBMITTED, job_id="job-7", note="first try")
        await ledger.move("t", S.RESULT)
        job_record = JobRecord("t", "scripted", ("r1", "r2"), 256, S.RESULT, "job-7", "", 3.0)
        assert await ledger.jobs() == (job_record,)
        await ledger.move("t", S.STALE, note="lost the race")
        (ended,) = await ledger.jobs()
        assert (ended.state, ended.job_id, ended.note) == (S.STALE, "job-7", "lost the race")

    asyncio.run(main())


def test_writes_are_carried_out_in_the_order_in_which_they_were_asked_for(make: Make) -> None:
    async def main() -> None:
        ledger = make(make_step_clock())
        tags = [f"t{number}" for number in range(40)]
        await asyncio.gather(*(ledger.intend(record(tag)) for tag in tags))
        moves = [ledger.move(tag, S.SUBMITTED, job_id="job-1") for tag in tags]
        for state in (S.RESULT, S.APPLIED):
            moves += [ledger.move(tag, state) for tag in reversed(tags)]
        await asyncio.gather(*moves)
        assert [job.tag for job in await ledger.jobs(S.APPLIED)] == tags[::-1]

    asyncio.run(main())


def test_the_oldest_change_comes_first_whatever_the_clock_says(make: Make) -> None:
    backwards = map(float, itertools.count(0, -1)).__next__

    async def main() -> None:
        ledger = make(backwards)
        for tag in "cab":
            await ledger.intend(record(tag))
        await move_to_end(ledger, "c", S.SUBMITTED)
        await move_to_end(ledger, "b", S.SUBMITTED, S.RESULT)
        assert [job.tag for job in await ledger.jobs()] == ["a", "c", "b"]
        assert [job.tag for job in await ledger.jobs(S.SUBMITTED, S.INTENT)] == ["a", "c"]
        assert await ledger.jobs(S.PARKED) == ()

    asyncio.run(main())


@pytest.mark.parametrize("state", S)
def test_from_each_state_exactly_the_legal_moves_are_made(make: Make, state: LedgerState) -> None:
    async def main() -> None:
        ledger = make(make_step_clock())
        for target in S:
            tag = f"{state}-{target}"
            await ledger.intend(record(tag))
            await move_to_end(ledger, tag, *WAYS[state])
            (before,) = [job for job in await ledger.jobs() if job.tag == tag]
            assert before.state is state
            if target in NEXT_STATES[state]:
                await ledger.move(tag, target, job_id="job-2")
                expected = target
            else:
                with pytest.raises(LedgerError, match=f"{tag} is {state}: it cannot become {target}"):
                    await ledger.move(tag, target, job_id="job-2")
                expected = state
            (after,) = [job for job in await ledger.jobs() if job.tag == tag]
            assert after.state is expected
            assert (after == before) is (expected is state)

    asyncio.run(main())


def test_what_is_not_an_intent_or_a_submit_is_refused_and_leaves_no_trace(make: Make) -> None:
    async def main() -> None:
        ledger = make(make_step_clock())
        for wrong in (
            JobRecord("", "scripted", (), 1),
            JobRecord("two\nlines", "scripted", (), 1),
            JobRecord("half \ud800 a pair", "scripted", (), 1),
            JobRecord("t", "scripted", (), 1, S.SUBMITTED),
            JobRecord("t", "scripted", (), 1, job_id="job-1"),
        ):
            with pytest.raises(LedgerError):
                await ledger.intend(wrong)
        for tag in ("t", "", "half \ud800 a pair"):
            with pytest.raises(LedgerError, match="in the ledger"):
                await ledger.move(tag, S.FAILED)
        assert await ledger.jobs() == ()
        await ledger.intend(record())
        for job_id in ("", "job\0-1", "\udcff"):
            with pytest.raises(LedgerError):
                await ledger.move("t", S.SUBMITTED, job_id=job_id)
        (job,) = await ledger.jobs()
        assert job.state is S.INTENT

    asyncio.run(main())


def test_a_tag_is_used_once_for_ever(make: Make) -> None:
    async def main() -> None:
        ledger = make(make_step_clock())
        tries = await asyncio.gather(*(ledger.intend(record()) for _ in range(9)), return_exceptions=True)
        assert sum(attempt is None for attempt in tries) == 1
        assert sum(isinstance(attempt, LedgerError) for attempt in tries) == 8
        await move_to_end(ledger, "t", S.FAILED)
        with pytest.raises(LedgerError, match="used only once"):
            await ledger.intend(record())

    asyncio.run(main())


def test_a_note_is_one_printable_line_whatever_a_provider_said(make: Make) -> None:
    async def main() -> None:
        ledger = make(make_step_clock())
        await ledger.intend(record())
        await ledger.move("t", S.PARKED, note="503\r\n\x1b[31mBad\x00 gateway \udcff ½")
        (parked,) = await ledger.jobs()
        assert parked.note == "503   [31mBad  gateway   ½"

    asyncio.run(main())


def test_a_caller_who_goes_takes_nobody_with_him(make: Make) -> None:
    async def main() -> None:
        ledger = make(make_step_clock())
        gone = asyncio.create_task(ledger.intend(record("gone")))
        stays = asyncio.create_task(ledger.intend(record("stays")))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait_for(stays, 30)
        await ledger.intend(record("after"))
        assert [job.tag for job in await ledger.jobs()] == ["gone", "stays", "after"]

    asyncio.run(main())


async def answer(call: Call) -> str:
    """What a call says to its caller: the words of its error, or nothing."""
    try:
        await call
    except LedgerError as error:
        return str(error)
    return ""


class LedgerAgainstMemory(RuleBasedStateMachine):
    """Whatever is asked, in whatever order and company, both say the same; also after a restart."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._model = MemoryLedger(lambda: 0.0)
        self._place = self.find_place()
        self._ledger = self.open()

    def find_place(self) -> LedgerPlace:
        raise NotImplementedError

    def open(self) -> SqliteLedger | PostgresLedger:
        raise NotImplementedError

    def teardown(self) -> None:
        self._ledger.close()
        self._runner.close()

    @rule(tags=st.lists(st.sampled_from("abcd"), min_size=1, max_size=6))
    def intend(self, tags: list[str]) -> None:
        def calls(ledger: Ledger) -> list[Call]:
            return [ledger.intend(record(tag)) for tag in tags]

        self._ask_both(calls)

    @rule(
        moves=st.lists(
            st.tuples(st.sampled_from("abcd"), st.sampled_from(S), st.sampled_from(["", "job"]), st.text()),
            min_size=1,
            max_size=8,
        )
    )
    def move(self, moves: list[tuple[str, LedgerState, str, str]]) -> None:
        def calls(ledger: Ledger) -> list[Call]:
            return [ledger.move(tag, state, job_id=job_id, note=note) for tag, state, job_id, note in moves]

        self._ask_both(calls)

    @rule()
    def restart(self) -> None:
        self._ledger.close()
        self._ledger = self.open()

    @invariant()
    def records_are_equal(self) -> None:
        expected = self._runner.run(self._model.jobs())
        assert self._runner.run(self._ledger.jobs()) == expected
        assert self._runner.run(self._ledger.jobs(S.PARKED, S.INTENT)) == tuple(
            job for job in expected if job.state in {S.PARKED, S.INTENT}
        )
        states = Counter(job.state for job in expected)
        assert self._place.count_jobs() == {state: states[state] for state in LedgerState}
        parked = [job for job in expected if job.state is S.PARKED]
        assert list(self._place.read_longest_parked(2)) == parked[:2]
        for tag in [job.tag for job in expected]:
            history = self._place.read_history(tag)
            assert list(history) == [change for change in self._model.history if change.tag == tag]
            assert _is_a_chain(history)

    def _ask_both(self, calls: Callable[[Ledger], list[Call]]) -> None:
        async def ask(ledger: Ledger) -> list[str]:
            return await asyncio.gather(*map(answer, calls(ledger)))

        assert self._runner.run(ask(self._ledger)) == self._runner.run(ask(self._model))


class SqliteAgainstMemory(LedgerAgainstMemory):
    def find_place(self) -> LedgerPlace:
        self._folder = tempfile.TemporaryDirectory()
        return find_place(f"{self._folder.name}/ledger.db")

    def open(self) -> SqliteLedger:
        return SqliteLedger(Path(self._folder.name) / "ledger.db", lambda: 0.0)

    def teardown(self) -> None:
        super().teardown()
        self._folder.cleanup()


def _is_a_chain(history: tuple[Transition, ...]) -> bool:
    """Each transition begins where the last one ended, and is legal."""
    steps = history[1:]
    return all(first.after is second.before for first, second in itertools.pairwise(history)) and all(
        step.after in NEXT_STATES[step.before] for step in steps
    )


TestSqliteAgainstMemory = SqliteAgainstMemory.TestCase
TestSqliteAgainstMemory.settings = settings(max_examples=30, stateful_step_count=15, deadline=None)


def test_postgresql_agrees_with_memory_too(postgres: Cluster) -> None:
    class PostgresAgainstMemory(LedgerAgainstMemory):
        def find_place(self) -> LedgerPlace:
            return find_place(empty(postgres))

        def open(self) -> PostgresLedger:
            ledger = PostgresLedger(postgres.url(), lambda: 0.0, term_s=LONG_S)
            self._runner.run(ledger.adopt("scripted"))
            return ledger

    run_state_machine_as_test(  # type: ignore[no-untyped-call, unused-ignore]
        PostgresAgainstMemory, settings=settings(max_examples=4, stateful_step_count=10, deadline=None)
    )
