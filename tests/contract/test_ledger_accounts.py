"""What may be spent is decided in the intent's transaction: one suite for every ledger."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pytest

from postgres_cluster import Cluster
from shotclock.domain.accounting import (
    Allocation,
    CallAccount,
    JobAccount,
    JobUsage,
    MoneyRules,
    Origin,
    Spending,
    TenantQuota,
)
from shotclock.domain.errors import SettingsError
from shotclock.domain.ledger import JobRecord, LedgerState
from shotclock.orchestrator.ledger.accounts import OverBudgetError, OverQuotaError, RepeatedCallError
from shotclock.orchestrator.ledger.limits import SharedLimits
from shotclock.orchestrator.ledger.memory import MemoryLedger
from shotclock.orchestrator.ledger.places import find_place
from shotclock.orchestrator.ledger.postgres import PostgresLedger
from shotclock.orchestrator.ledger.sqlite import SqliteLedger

S = LedgerState
AnyLedger = MemoryLedger | SqliteLedger | PostgresLedger
DAY_S = 86_400.0
RULES = MoneyRules(budget="autumn", most=10.0, price_per_s=2.0, currency="EUR")


class Wall:
    """A wall clock that is set by hand."""

    now_unix_s = 1_790_000_000.0

    def read(self) -> float:
        return self.now_unix_s


Make = Callable[[Wall], AnyLedger]


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    with contextlib.ExitStack() as stack:

        def make_ledger(wall: Wall) -> AnyLedger:
            if request.param == "memory":
                return MemoryLedger(wall.read)
            ledger: SqliteLedger | PostgresLedger
            if request.param == "sqlite":
                ledger = SqliteLedger(tmp_path / "ledger.db", wall.read)
            else:
                ledger = PostgresLedger(empty(request.getfixturevalue("postgres")), wall.read, term_s=3_600.0)
            return stack.enter_context(contextlib.closing(ledger))

        yield make_ledger


def empty(cluster: Cluster) -> str:
    with cluster.connect() as connection:
        connection.execute("DROP SCHEMA IF EXISTS shotclock CASCADE")
    return cluster.url()


def job(tag: str, seconds: float | None, *callers: str) -> JobRecord:
    calls = tuple(CallAccount(f"{tag}-{name}", name) for name in callers or ("ada",))
    account = JobAccount(calls, seconds)
    return JobRecord(tag, "scripted", tuple(call.request_id for call in calls), 64, account=account)


def limits(rules: MoneyRules) -> SharedLimits:
    return SharedLimits(money=rules)


def test_a_budget_counts_what_is_reserved_until_the_usage_is_known(make: Make) -> None:
    async def main() -> None:
        ledger = make(Wall())
        ledger.limit("scripted", limits(RULES))
        await ledger.intend(job("a", 3.0))
        with pytest.raises(OverBudgetError, match=r"needs 6 EUR, with 6 spent and reserved of the limit 10"):
            await ledger.intend(job("b", 3.0))
        await ledger.intend(job("c", 2.0))
        # nothing was submitted of c, and a used less than it had reserved
        await ledger.move("c", S.FAILED)
        await ledger.move("a", S.SUBMITTED, job_id="job-1")
        await ledger.move("a", S.RESULT)
        await ledger.charge("a", JobUsage(used_s=1.0))
        await ledger.charge("a", JobUsage())  # unknown leaves what is known
        await ledger.charge("unknown", JobUsage(used_s=9.0))
        await ledger.intend(job("b", 4.0))
        with pytest.raises(OverBudgetError, match="with 10 spent"):
            await ledger.intend(job("d", 0.1))
        # a submitted job that failed may have cost something
        await ledger.move("b", S.SUBMITTED, job_id="job-2")
        await ledger.move("b", S.FAILED)
        with pytest.raises(OverBudgetError):
            await ledger.intend(job("d", 0.1))
        assert {record.tag for record in await ledger.jobs()} == {"a", "b", "c"}
        ledger.limit("scripted", limits(replace(RULES, budget="winter")))
        await ledger.intend(job("d", 5.0))

    asyncio.run(main())


def test_a_reservation_that_is_not_a_number_is_refused(make: Make) -> None:
    async def main() -> None:
        ledger = make(Wall())
        ledger.limit("scripted", limits(RULES))
        with pytest.raises(OverBudgetError):
            await ledger.intend(job("a", math.nan))
        await ledger.intend(job("unknown", None))
        await ledger.intend(job("b", 5.0))

    asyncio.run(main())


def test_a_quota_ends_with_its_period_and_stops_one_caller_alone(make: Make) -> None:
    async def main() -> None:
        wall = Wall()
        ledger = make(wall)
        quotas = {"ada": TenantQuota(qpu_s=2.0, period="day"), "bob": TenantQuota(money=100.0), "eve": None}
        rules = MoneyRules(price_per_s=2.0, quotas=quotas, default=TenantQuota(qpu_s=0.5, period="ever"))
        ledger.limit("scripted", limits(rules))
        await ledger.intend(job("a", 3.0, "ada", "bob"))
        with pytest.raises(OverQuotaError, match=r"ada may use 2 QPU seconds a day \(got 2.5\)") as caught:
            await ledger.intend(job("b", 2.0, "ada", "bob"))
        assert caught.value.caller == "ada"
        await ledger.intend(job("c", 2.0, "bob"))
        await ledger.intend(job("d", 1e6, "eve"))
        await ledger.intend(job("e", 0.5, "stranger"))
        wall.now_unix_s += DAY_S
        await ledger.intend(job("f", 2.0, "ada"))
        with pytest.raises(OverQuotaError, match=r"stranger may use 0\.5 QPU seconds in all"):
            await ledger.intend(job("g", 0.1, "stranger"))

    asyncio.run(main())


def make_repeat(
    tag: str, age_s: float, *, repeats: int = 1, request_id: str = "r", caller: str = "ada"
) -> JobRecord:
    call = CallAccount(request_id, caller, 1, Origin(repeats=repeats, age_s=age_s), age_s)
    return JobRecord(tag, "scripted", (request_id,), 64, account=JobAccount((call,), 1.0))


def test_a_call_that_was_sent_elsewhere_before_is_paid_for_once(make: Make) -> None:
    async def main() -> None:
        wall = Wall()
        ledger = make(wall)
        await ledger.intend(make_repeat("first", 0.0, repeats=0))
        wall.now_unix_s += 5.0
        with pytest.raises(RepeatedCallError, match="was submitted before as first") as caught:
            await ledger.intend(make_repeat("second", 5.5))
        assert caught.value.earlier is not None
        assert caught.value.earlier.tag == "first"
        # others' calls, and those of a later run under the same name, do not count
        await ledger.intend(make_repeat("other's", 5.5, caller="bob"))
        await ledger.intend(make_repeat("later run", 0.0, repeats=0))
        # nothing was submitted of it, so that another orchestrator may
        await ledger.intend(make_repeat("lost", 0.0, repeats=0, request_id="q"))
        await ledger.move("lost", S.FAILED)
        await ledger.intend(make_repeat("again", 2.0, request_id="q"))
        # the first one's queue holds it still: it arrived there before the repeat was recorded
        with pytest.raises(RepeatedCallError, match="another orchestrator has taken the call over"):
            await ledger.intend(make_repeat("late", 1.0, repeats=0, request_id="q"))
        wall.now_unix_s += 60.0
        await ledger.intend(make_repeat("much later", 1.0, repeats=0, request_id="q"))

    asyncio.run(main())


def test_the_accounts_of_a_file_and_a_database_are_read_back(tmp_path: Path, postgres: Cluster) -> None:
    wall = Wall()
    origin = Origin(Allocation("4711", "proj-a", "ada"))
    account = JobAccount((CallAccount("r1", "ada", 3, origin), CallAccount("r2", "bob", 1)), 2.0)

    async def write(ledger: SqliteLedger | PostgresLedger) -> None:
        ledger.limit("ibm", limits(replace(RULES, resource="ibm_torino")))
        await ledger.intend(JobRecord("t", "ibm", ("r1", "r2"), 64, account=account))
        await ledger.charge("t", JobUsage(4.0, began_ago_s=3.0, ended_ago_s=1.0))

    where = str(tmp_path / "ledger.db"), empty(postgres)
    for ledger in (SqliteLedger(tmp_path / "ledger.db", wall.read), PostgresLedger(where[1], wall.read)):
        with contextlib.closing(ledger):
            asyncio.run(write(ledger))
    for name in where:
        (entry,) = find_place(name).read_accounts(0.0, 1e12)
        assert entry.account == account
        assert (entry.used_s, entry.resource, entry.price_per_s, entry.currency) == (
            4.0,
            "ibm_torino",
            2.0,
            "EUR",
        )
        assert entry.began_unix_s == wall.now_unix_s - 3.0
        assert entry.ended_unix_s == wall.now_unix_s - 1.0
        spent = find_place(name).read_spending("ibm")
        assert sorted(spent, key=lambda row: row.caller) == [
            Spending("autumn", "ada", "2026-09-21", 3.0, 6.0),
            Spending("autumn", "bob", "2026-09-21", 1.0, 2.0),
        ]
        assert find_place(name).read_accounts(0.0, wall.now_unix_s) == []
    assert find_place(where[0]).read_xmin_age() is None
    with postgres.connect() as holder, holder.transaction():
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT count(*) FROM shotclock.jobs")
        before = find_place(where[1]).read_xmin_age()
        with postgres.connect() as other:
            for _ in range(3):
                other.execute("SELECT pg_current_xact_id()")
        after = find_place(where[1]).read_xmin_age()
    assert before is not None
    assert after is not None
    assert after >= before + 3


@pytest.mark.parametrize(
    ("rules", "statements"),
    [(MoneyRules(), 0), (RULES, 1), (replace(RULES, quotas={"ada": TenantQuota(qpu_s=1e6)}), 2)],
)
def test_an_intent_reads_only_the_sums_that_have_a_limit(
    postgres: Cluster, monkeypatch: pytest.MonkeyPatch, rules: MoneyRules, statements: int
) -> None:
    queries: list[str] = []
    execute = psycopg.Connection.execute

    def note(connection: psycopg.Connection[Any], query: str, *values: Any) -> psycopg.Cursor[Any]:
        queries.append(query)
        return execute(connection, query, *values)

    async def main() -> None:
        with contextlib.closing(PostgresLedger(empty(postgres), Wall().read, term_s=3_600.0)) as ledger:
            ledger.limit("scripted", limits(rules))
            await ledger.intend(job("a", 1.0))  # creates the provider's row
            monkeypatch.setattr(psycopg.Connection, "execute", note)
            await ledger.intend(job("b", 1.0, "ada", "bob"))
            monkeypatch.undo()

    asyncio.run(main())
    assert sum("sum(" in query for query in queries) == statements
    # the lease, the provider's row, lanes in use, repeats, the account, two callers' spending, the intent
    assert len(queries) == statements + 8


def test_replicas_share_one_budget_to_the_last_cent(postgres: Cluster) -> None:
    url = empty(postgres)

    async def main() -> None:
        with contextlib.ExitStack() as stack:
            ledgers = [
                stack.enter_context(contextlib.closing(PostgresLedger(url, Wall().read))) for _ in range(3)
            ]
            for ledger in ledgers:
                ledger.limit("scripted", limits(RULES))
            tries = await asyncio.gather(
                *(each.intend(job(f"{i}-{k}", 0.5)) for i, each in enumerate(ledgers) for k in range(8)),
                return_exceptions=True,
            )
        assert sum(attempt is None for attempt in tries) == 10
        assert sum(isinstance(attempt, OverBudgetError) for attempt in tries) == 14
        (spent,) = find_place(url).read_spending("scripted")
        assert spent.money == pytest.approx(10.0)

    asyncio.run(main())


def test_a_ledger_of_the_version_before_is_read_and_then_extended(tmp_path: Path, postgres: Cluster) -> None:
    path, url = tmp_path / "ledger.db", empty(postgres)
    for ledger in (SqliteLedger(path, Wall().read), PostgresLedger(url, Wall().read)):
        with contextlib.closing(ledger):
            asyncio.run(ledger.intend(job("t", 1.0)))
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.execute(
            "DROP TABLE accounts; DROP TABLE spending; DROP TABLE repeats; PRAGMA user_version = 1"
        )
    with postgres.connect() as older:
        older.execute("DROP TABLE shotclock.accounts, shotclock.spending, shotclock.repeats")
        older.execute("UPDATE shotclock.schema_version SET version = 1")
    assert find_place(str(path)).read_accounts(0.0, 1e12) == []
    assert [record.tag for record in find_place(str(path)).read_jobs()] == ["t"]
    for ledger in (SqliteLedger(path, Wall().read), PostgresLedger(url, Wall().read)):
        with contextlib.closing(ledger):
            ledger.limit("scripted", limits(RULES))
            asyncio.run(ledger.intend(job("u", 5.0)))
            with pytest.raises(OverBudgetError):
                asyncio.run(ledger.intend(job("v", 0.1)))


@pytest.mark.parametrize(
    "value", ["=cmd()", "a b", "a;b", "x" * 65, "a\n", "\x1b[31m", "-1", "ä", "a,b", '"', "@here"]
)
def test_a_label_that_a_terminal_or_a_spreadsheet_would_act_on_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match=r"allocation\.job: must be 1 to 64"):
        Allocation(value)
    assert Allocation.of({"SLURM_JOB_ID": value, "SLURM_JOB_USER": "ada"}) == Allocation(user="ada")
