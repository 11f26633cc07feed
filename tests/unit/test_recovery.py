"""Jobs that a stop left open: adopted, collected, parked; and nothing is submitted by it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import replace

import pytest

from harness import LoopClock, random_parameters, run_virtual, without_qpy
from shotclock.domain.errors import FaultKind, JobEndedError, ProviderError
from shotclock.domain.ledger import JobRecord, LedgerError, LedgerState
from shotclock.domain.ports import Accepted, Execution, Job
from shotclock.orchestrator.ledger.memory import MemoryLedger
from shotclock.orchestrator.ledger.parked import after_review, review_parked
from shotclock.orchestrator.ledger.recovery import (
    SEARCHES_AT_ONCE,
    Move,
    Overdue,
    Recovered,
    after_search,
    after_wait,
    collect_left,
    recover,
)
from shotclock.providers.scripted import Fail, Never, Reply, ScriptedProvider, Step

S = LedgerState
TRANSIENT = ProviderError(FaultKind.TRANSIENT, "503")
ENDED = JobEndedError(FaultKind.TRANSIENT, "1006: internal error")
PERMANENT = ProviderError(FaultKind.PERMANENT, "no such job")
AMBIGUOUS = ProviderError(FaultKind.AMBIGUOUS, "half an answer")
EXECUTION = Execution((), 0, 0, 0)


@pytest.mark.parametrize(
    ("search_result", "move"),
    [
        ((Accepted("a"),), Move(S.SUBMITTED, "adopted by its tag after a stop", "a")),
        ((), Move(S.PARKED, "no job carries this tag, or not yet")),
        ((Accepted("a"), Accepted("b")), Move(S.PARKED, "2 jobs carry this tag: a, b")),
        (PERMANENT, Move(S.PARKED, "the search for its tag failed: no such job")),
        (AMBIGUOUS, Move(S.PARKED, "the search for its tag failed: half an answer")),
        (Overdue(30.0), Move(S.PARKED, "the search for its tag had no answer within 30 s")),
        (
            Overdue(30.0, "503"),
            Move(S.PARKED, "the search for its tag had no answer within 30 s (last: 503)"),
        ),
    ],
)
def test_a_search_adopts_exactly_one_job_and_parks_the_rest(
    search_result: tuple[Accepted, ...] | ProviderError | Overdue, move: Move
) -> None:
    assert after_search(search_result) == move


@pytest.mark.parametrize(
    ("ended", "states"),
    [
        (EXECUTION, [S.RESULT, S.STALE]),
        (PERMANENT, [S.FAILED]),
        (AMBIGUOUS, [S.PARKED]),
        (TRANSIENT, [S.PARKED]),
        (ENDED, [S.FAILED]),
        (Overdue(5.0), [S.PARKED]),
    ],
)
def test_only_a_permanent_fault_says_that_a_job_failed(
    ended: Execution | ProviderError | Overdue, states: list[LedgerState]
) -> None:
    moves = after_wait(ended)
    assert [move.state for move in moves] == states
    assert all(move.note for move in moves)


class FaultyProvider(ScriptedProvider):
    """Raises what it is given, one a search or a collect, before it does as it should."""

    def __init__(self, faults: Iterable[ProviderError] = (), script: Iterable[Step] = ()) -> None:
        super().__init__(LoopClock(), script)
        self.faults = deque(faults)

    async def find(self, tag: str) -> tuple[Accepted, ...]:
        self._raise()
        return await super().find(tag)

    async def collect(self, accepted: Accepted) -> Execution:
        self._raise()
        return await super().collect(accepted)

    def _raise(self) -> None:
        if self.faults:
            raise self.faults.popleft()


def job(tag: str) -> Job:
    return Job.of((without_qpy(random_parameters(2, 1)),), 10, tag)


def intent(tag: str, provider: str = "scripted") -> JobRecord:
    return JobRecord(tag, provider, ("r1",), 10)


async def leave_intents(*tags: str) -> MemoryLedger:
    """A ledger with an intent a tag."""
    ledger = MemoryLedger(lambda: 0.0)
    for tag in tags:
        await ledger.intend(intent(tag))
    return ledger


async def states(ledger: MemoryLedger) -> dict[str, LedgerState]:
    return {job.tag: job.state for job in await ledger.jobs()}


def test_every_record_of_this_provider_comes_to_rest_and_nothing_is_submitted() -> None:
    async def main() -> None:
        provider = FaultyProvider(
            script=[Reply(60.0), Reply(60.0), Reply(60.0), Fail(PERMANENT, "collect", 5.0)]
        )
        ledger = await leave_intents("one", "none", "two", "submitted", "result", "applied")
        await ledger.intend(intent("another's", "ibm"))
        for tag in ("one", "two", "two"):
            await provider.submit(job(tag))
        accepted = await provider.submit(job("submitted"))
        await ledger.move("submitted", S.SUBMITTED, job_id=accepted.job_id)
        for tag in ("result", "applied"):
            await ledger.move(tag, S.SUBMITTED, job_id="x")
            await ledger.move(tag, S.RESULT)
        await ledger.move("applied", S.APPLIED)

        at_once = await recover(ledger, provider)
        assert (at_once.adopted, at_once.parked, at_once.settled) == (1, 2, 1)
        assert [job_found.tag for job_found in at_once.submitted] == ["submitted", "one"]
        assert asyncio.get_running_loop().time() < 1.0  # nothing was waited for

        later = await collect_left(ledger, provider, at_once.submitted)
        assert later == Recovered(settled=2)
        assert await states(ledger) == {
            "another's": S.INTENT,
            "one": S.STALE,
            "none": S.PARKED,
            "two": S.PARKED,
            "submitted": S.FAILED,
            "result": S.STALE,
            "applied": S.APPLIED,
        }
        assert provider.submits == 4
        assert await recover(ledger, provider) == Recovered()

    run_virtual(main())


def test_a_transient_fault_is_asked_again_until_the_limit() -> None:
    async def main() -> None:
        provider = FaultyProvider([TRANSIENT] * 3)
        await provider.submit(job("t"))
        recovered = await recover(await leave_intents("t"), provider, limit_s=10.0, pause_s=1.0)
        assert (recovered.adopted, recovered.parked) == (1, 0)
        assert 3.0 <= asyncio.get_running_loop().time() < 3.1

        ledger = await leave_intents("t")
        recovered = await recover(ledger, FaultyProvider([TRANSIENT] * 99), limit_s=10.0, pause_s=1.0)
        assert (recovered.adopted, recovered.parked) == (0, 1)
        assert "10 s (last: 503)" in (await ledger.jobs())[0].note

    run_virtual(main())


def test_a_job_that_has_failed_is_not_asked_for_again() -> None:
    async def main() -> None:
        provider = FaultyProvider([])
        await provider.submit(job("t"))
        ledger = await leave_intents("t")
        recovered = await recover(ledger, provider)
        provider.faults.append(ENDED)
        assert await collect_left(ledger, provider, recovered.submitted) == Recovered(settled=1)
        (record,) = await ledger.jobs()
        assert (record.state, record.note) == (LedgerState.FAILED, str(ENDED))

    run_virtual(main())


def test_a_slow_vendor_is_searched_for_many_intents_at_once() -> None:
    """Too many records to search one after the other during a start."""

    class SlowSearch(ScriptedProvider):
        async def find(self, tag: str) -> tuple[Accepted, ...]:
            await asyncio.sleep(10.0)
            return await super().find(tag)

    async def main() -> None:
        tags = [f"t{number}" for number in range(2 * SEARCHES_AT_ONCE)]
        assert (await recover(await leave_intents(*tags), SlowSearch(LoopClock()))).parked == len(tags)
        assert asyncio.get_running_loop().time() == pytest.approx(20.0, abs=0.1)

    run_virtual(main())


def test_jobs_are_awaited_side_by_side_and_one_that_never_ends_is_parked() -> None:
    async def main() -> None:
        provider = FaultyProvider(script=[Reply(100.0), Never(), Reply(100.0), Reply(100.0)])
        tags = ["a", "b", "c", "d"]
        ledger = await leave_intents(*tags)
        for tag in tags:
            await provider.submit(job(tag))
        submitted = (await recover(ledger, provider)).submitted
        assert await collect_left(ledger, provider, submitted, limit_s=120.0) == Recovered(
            parked=1, settled=3
        )
        assert asyncio.get_running_loop().time() < 121.0
        assert await states(ledger) == {"a": S.STALE, "b": S.PARKED, "c": S.STALE, "d": S.STALE}

    run_virtual(main())


def test_a_stop_during_the_wait_leaves_the_job_for_the_next_start() -> None:
    async def main() -> None:
        provider = FaultyProvider(script=[Reply(100.0)])
        ledger = await leave_intents("t")
        await provider.submit(job("t"))
        submitted = (await recover(ledger, provider)).submitted
        waiting = asyncio.create_task(collect_left(ledger, provider, submitted))
        await asyncio.sleep(10.0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await states(ledger) == {"t": S.SUBMITTED}
        again = await recover(ledger, provider)
        assert again == Recovered(submitted=submitted)
        assert (await collect_left(ledger, provider, again.submitted)).settled == 1

    run_virtual(main())


def test_a_ledger_that_stops_ends_the_recovery_with_its_own_error() -> None:
    class StoppedLedger(MemoryLedger):
        async def move(self, tag: str, state: LedgerState, *, job_id: str = "", note: str = "") -> None:
            raise LedgerError("stopped")

    async def main() -> None:
        provider, ledger = FaultyProvider(script=[Reply(1.0), Never()]), StoppedLedger(lambda: 0.0)
        await ledger.intend(intent("t"))
        with pytest.raises(LedgerError, match="stopped"):
            await recover(ledger, provider)
        accepted = [await provider.submit(job(tag)) for tag in ("a", "b")]
        submitted = tuple(
            JobRecord("t", "scripted", (), 1, S.SUBMITTED, accepted_job.job_id) for accepted_job in accepted
        )
        with pytest.raises(LedgerError, match="stopped"):
            await collect_left(ledger, provider, submitted)

    run_virtual(main())


def test_a_job_that_the_list_shows_late_is_adopted() -> None:
    class LaggingSearch(ScriptedProvider):
        searches = 0

        async def find(self, tag: str) -> tuple[Accepted, ...]:
            self.searches += 1
            return await super().find(tag) if self.searches > 3 else ()

    async def main() -> None:
        provider = LaggingSearch(LoopClock())
        await provider.submit(job("late"))
        recovery = await recover(await leave_intents("late"), provider, grace_s=5.0)
        assert (recovery.adopted, recovery.parked, provider.searches) == (1, 0, 4)
        again = await recover(await leave_intents("never"), provider, grace_s=5.0)
        assert (again.adopted, again.parked) == (0, 1)

    run_virtual(main())


@pytest.mark.parametrize(
    ("search_result", "parked_s", "state"),
    [
        ((Accepted("a"),), 0.0, S.SUBMITTED),
        ((), 59.9, None),
        ((), 60.0, S.FAILED),
        ((Accepted("a"), Accepted("b")), 1e6, None),
        (PERMANENT, 1e6, None),
        (Overdue(30.0), 1e6, None),
    ],
)
def test_a_parked_job_is_closed_only_where_the_list_is_known_to_lack_it(
    search_result: tuple[Accepted, ...] | ProviderError | Overdue, parked_s: float, state: LedgerState | None
) -> None:
    move = after_review(search_result, parked_s, 60.0)
    assert (move and move.state) == state


def test_parked_jobs_are_adopted_or_closed_after_the_grace_where_the_list_is_complete() -> None:
    async def main() -> None:
        provider = FaultyProvider()
        ledger = MemoryLedger(asyncio.get_running_loop().time)
        for tag in ("late", "never", "known"):
            await ledger.intend(intent(tag))
            job_id = "job-9" if tag == "known" else ""
            await ledger.move(tag, S.PARKED, job_id=job_id, note="parked")
        await ledger.intend(intent("other", "ibm"))
        await ledger.move("other", S.PARKED)
        await provider.submit(job("late"))

        async def review() -> list[str]:
            now_s = asyncio.get_running_loop().time
            adopted = await review_parked(ledger, provider, now_s, grace_s=60.0)
            return [record.tag for record in adopted]

        await asyncio.sleep(100.0)
        assert await review() == []  # its list is not said to be complete
        provider.limits = replace(provider.limits, lists_jobs=True)
        assert await review() == ["late"]
        assert await states(ledger) == {
            "known": S.PARKED,
            "other": S.PARKED,
            "late": S.SUBMITTED,
            "never": S.FAILED,
        }
        assert await review() == []
        assert provider.submits == 1

    run_virtual(main())


def test_a_provider_that_raises_anything_leaves_its_record_to_a_person() -> None:
    class RaisingProvider(ScriptedProvider):
        async def find(self, tag: str) -> tuple[Accepted, ...]:
            raise TypeError("'NoneType' object is not iterable")

        async def collect(self, accepted: Accepted) -> Execution:
            raise KeyError("results")

    async def main() -> None:
        provider = RaisingProvider(LoopClock())
        ledger = await leave_intents("lost")
        assert (await recover(ledger, provider)).parked == 1
        adopted = await leave_intents("held")
        await adopted.move("held", LedgerState.SUBMITTED, job_id="job-1")
        submitted = (await recover(adopted, provider)).submitted
        assert (await collect_left(adopted, provider, submitted)).parked == 1
        assert [record.after for record in adopted.history][-1] is LedgerState.PARKED

    run_virtual(main())


def test_a_vendor_that_asks_for_time_is_given_it() -> None:
    async def main() -> None:
        busy = ProviderError(FaultKind.TRANSIENT, "429", 8.0)
        assert (await recover(await leave_intents("t"), FaultyProvider([busy]), limit_s=20.0)).parked == 1
        assert asyncio.get_running_loop().time() == pytest.approx(8.0)

    run_virtual(main())
