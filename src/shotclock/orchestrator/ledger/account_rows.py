"""The accounts of jobs and the spending in a ledger's database: the same tables on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from shotclock.domain.accounting import AccountEntry, Allocation, CallAccount, JobAccount, Origin, Spending
from shotclock.orchestrator.ledger.accounts import REPEATS_KEPT_S

Execute = Callable[[str, tuple[Any, ...]], Iterable[tuple[Any, ...]]]
"""Runs a statement with `?` for each value, and returns its rows."""

_COLUMNS = (
    "tag, provider, budget, resource, calls, estimate_s, price_per_s, currency, intended_unix_s, used_s, "
    "began_unix_s, ended_unix_s"
)


class SqlAccounts:
    """Implements AccountRows on a connection. prefix: of the tables' names."""

    def __init__(self, execute: Execute, prefix: str = "") -> None:
        self._execute = execute
        self._accounts = f"{prefix}accounts"
        self._spending = f"{prefix}spending"
        self._repeats = f"{prefix}repeats"

    def read_spending(self, provider: str) -> list[Spending]:
        """All of the provider's."""
        query = f"SELECT budget, caller, day, seconds, money FROM {self._spending} WHERE provider = ?"  # noqa: S608
        return [Spending(*row) for row in self._execute(query, (provider,))]

    def sum_money(self, provider: str, budget: str) -> float:
        """See `AccountRows.sum_money`."""
        query = f"SELECT coalesce(sum(money), 0.0) FROM {self._spending} WHERE provider = ? AND budget = ?"  # noqa: S608
        ((money,),) = self._execute(query, (provider, budget))
        return float(money)

    def sum_usage(self, provider: str, caller: str, since_day: str) -> tuple[float, float]:
        """See `AccountRows.sum_usage`."""
        query = (
            f"SELECT coalesce(sum(seconds), 0.0), coalesce(sum(money), 0.0) FROM {self._spending} "  # noqa: S608
            f"WHERE provider = ? AND caller = ? AND day >= ?"
        )
        ((seconds, money),) = self._execute(query, (provider, caller, since_day))
        return float(seconds), float(money)

    def add_spending(self, provider: str, amount: Spending) -> None:
        """See `AccountRows.add_spending`."""
        self._execute(
            f"INSERT INTO {self._spending} AS s VALUES (?, ?, ?, ?, ?, ?) "  # noqa: S608
            f"ON CONFLICT (provider, budget, caller, day) DO UPDATE SET "
            f"seconds = s.seconds + excluded.seconds, money = s.money + excluded.money",
            (provider, amount.budget, amount.caller, amount.day, amount.seconds, amount.money),
        )

    def read(self, tag: str) -> AccountEntry | None:
        """See `AccountRows.read`."""
        if not tag.isprintable():
            return None
        query = f"SELECT {_COLUMNS} FROM {self._accounts} WHERE tag = ?"  # noqa: S608
        return next((_entry(*row) for row in self._execute(query, (tag,))), None)

    def read_all(self, since_unix_s: float, until_unix_s: float) -> list[AccountEntry]:
        """Those of the jobs intended from one instant to before the other, the oldest first."""
        query = (
            f"SELECT {_COLUMNS} FROM {self._accounts} "  # noqa: S608
            f"WHERE intended_unix_s >= ? AND intended_unix_s < ? ORDER BY intended_unix_s, tag"
        )
        return [_entry(*row) for row in self._execute(query, (since_unix_s, until_unix_s))]

    def read_repeats(self, calls: Iterable[CallAccount], since_unix_s: float) -> set[tuple[str, str]]:
        """See `AccountRows.read_repeats`."""
        names = [(call.caller, call.request_id) for call in calls]
        if not names:
            return set()
        marks = ", ".join(["(?, ?)"] * len(names))
        query = (
            f"SELECT caller, request_id FROM {self._repeats} "  # noqa: S608
            f"WHERE (caller, request_id) IN (VALUES {marks}) AND at_unix_s >= ?"
        )
        rows = self._execute(query, (*(name for pair in names for name in pair), since_unix_s))
        return {(caller, request_id) for caller, request_id in rows}

    def write_repeat(self, caller: str, request_id: str, at_unix_s: float) -> None:
        """See `AccountRows.write_repeat`."""
        self._execute(
            f"DELETE FROM {self._repeats} WHERE at_unix_s < ?",  # noqa: S608
            (at_unix_s - REPEATS_KEPT_S,),
        )
        self._execute(
            f"INSERT INTO {self._repeats} VALUES (?, ?, ?) ON CONFLICT (caller, request_id) "  # noqa: S608
            f"DO UPDATE SET at_unix_s = excluded.at_unix_s",
            (caller, request_id, at_unix_s),
        )

    def write(self, entry: AccountEntry) -> None:
        """See `AccountRows.write`."""
        marks = ", ".join("?" * 12)
        self._execute(
            f"INSERT INTO {self._accounts} VALUES ({marks}) ON CONFLICT (tag) DO UPDATE SET "  # noqa: S608
            f"calls = excluded.calls, used_s = excluded.used_s, began_unix_s = excluded.began_unix_s, "
            f"ended_unix_s = excluded.ended_unix_s",
            (
                entry.tag,
                entry.provider,
                entry.budget,
                entry.resource,
                _write_calls(entry.account.calls, entry.acquisition),
                entry.account.estimate_s,
                entry.price_per_s,
                entry.currency,
                entry.intended_unix_s,
                entry.used_s,
                entry.began_unix_s,
                entry.ended_unix_s,
            ),
        )


def _write_calls(calls: tuple[CallAccount, ...], acquisition: str) -> str:
    """A list a call: request id, caller, circuits, the labels of its allocation, and the job's acquisition.

    One that is unknown is left out, so that a version without it reads the others.
    """
    of_job = (acquisition,) if acquisition else ()
    rows = []
    for call in calls:
        allocation = call.origin.allocation
        labels = (allocation.job, allocation.account, allocation.user)
        rows.append((call.request_id, call.caller, call.circuits, *labels, *of_job))
    return json.dumps(rows)


def _entry(*row: Any) -> AccountEntry:
    """ValueError on values that no ledger writes."""
    tag, provider, budget, resource, calls, estimate_s, *figures = row
    acquisition = ""
    try:
        of_calls = []
        for request_id, caller, circuits, job, account, user, *of_job in json.loads(calls):
            origin = Origin(Allocation(job, account, user))
            of_calls.append(CallAccount(request_id, caller, int(circuits), origin))
            acquisition = str(of_job[0]) if of_job else ""
    except (TypeError, RecursionError) as error:
        raise ValueError("a job's account has a value that no ledger writes") from error
    account = JobAccount(tuple(of_calls), estimate_s)
    return replace(AccountEntry(tag, provider, budget, resource, account, *figures), acquisition=acquisition)
