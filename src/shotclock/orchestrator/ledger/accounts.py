"""Decides inside the intent's transaction whether a job may be paid for, and keeps what was spent.

Reserved amounts count like known ones: an estimate is replaced by what the provider reports.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from shotclock.domain.accounting import (
    AccountEntry,
    JobAccount,
    JobUsage,
    MoneyRules,
    Period,
    Spending,
    TenantQuota,
)
from shotclock.domain.ledger import JobRecord, LedgerState
from shotclock.orchestrator.ledger.transitions import LedgerBusyError

ROUNDING = 1e-9
"""Share of a limit that sums of floating-point amounts may exceed it by through rounding."""


class OverBudgetError(LedgerBusyError):
    """The job would exceed the money budget: nothing was recorded."""


class OverQuotaError(LedgerBusyError):
    """The job would exceed the quota of a caller: nothing was recorded.

    caller: whose.
    allowed: by the quota.
    present: with this job.
    unit: of both.
    """

    def __init__(self, caller: str, allowed: float, present: float, unit: str) -> None:
        super().__init__(f"{caller or 'this caller'} may use {allowed:.6g} {unit} (got {present:.6g})")
        self.caller = caller
        self.allowed = allowed
        self.present = present
        self.unit = unit


class AccountRows(Protocol):
    """The accounts and the spending of a ledger, inside a transaction."""

    def read_spending(self, provider: str) -> list[Spending]:
        """All of the provider's."""

    def add_spending(self, provider: str, amount: Spending) -> None:
        """Adds to the row of its budget, caller and day."""

    def read(self, tag: str) -> AccountEntry | None:
        """The account of a job, if it has one."""

    def write(self, entry: AccountEntry) -> None:
        """Writes or replaces a job's account."""


def open_account(rows: AccountRows, record: JobRecord, rules: MoneyRules, now_unix_s: float) -> None:
    """Reserves what the job will cost. Raises OverBudgetError, OverQuotaError; then nothing is reserved.

    Nothing is accounted for a record without an account.
    """
    if record.account is None:
        return
    spent = rows.read_spending(record.provider)
    refuse_spending(record.account, rules, spent, find_day(now_unix_s))
    entry = AccountEntry(
        record.tag,
        record.provider,
        rules.budget,
        rules.resource,
        record.account,
        rules.price_per_s,
        rules.currency,
        now_unix_s,
    )
    rows.write(entry)
    _count(rows, entry, entry.committed_s)


def refuse_spending(account: JobAccount, rules: MoneyRules, spent: Iterable[Spending], today: str) -> None:
    """Raises OverBudgetError or OverQuotaError where the job does not fit into what is left."""
    spent = tuple(spent)
    seconds = account.estimate_s or 0.0
    money = seconds * rules.price_per_s
    committed = sum(row.money for row in spent if row.budget == rules.budget)
    # `not <=` instead of `>`, so that a NaN is refused too.
    if rules.most and not committed + money <= rules.most * (1.0 + ROUNDING):
        raise OverBudgetError(
            f"money: this job needs {money:.4g} {rules.currency}, with {committed:.4g} spent and reserved of "
            f"the limit {rules.most:.4g} by all orchestrators of this ledger; "
            f"raise quantum.max_money_per_run to continue"
        )
    for caller, share in account.shares().items():
        quota = rules.quota_of(caller)
        if quota is not None:
            own = [row for row in spent if row.caller == caller and _counts(row.day, quota.period, today)]
            _refuse_quota(caller, quota, own, share * seconds, share * money, rules.currency)


def settle_account(rows: AccountRows, tag: str, usage: JobUsage, now_unix_s: float) -> None:
    """Replaces the estimate by what is known; an unknown value leaves what was there."""
    entry = rows.read(tag)
    if entry is None:
        return
    began_s, ended_s = (
        None if ago_s is None else now_unix_s - ago_s for ago_s in (usage.began_ago_s, usage.ended_ago_s)
    )
    settled = replace(
        entry,
        used_s=entry.used_s if usage.used_s is None else usage.used_s,
        began_unix_s=entry.began_unix_s if began_s is None else began_s,
        ended_unix_s=entry.ended_unix_s if ended_s is None else ended_s,
    )
    if settled != entry:
        rows.write(settled)
        _count(rows, settled, settled.committed_s - entry.committed_s)


def release_unsubmitted(rows: AccountRows, after: JobRecord, now_unix_s: float) -> None:
    """Of a job that failed without a job id nothing was submitted, so that it costs nothing."""
    if after.state is LedgerState.FAILED and not after.job_id:
        settle_account(rows, after.tag, JobUsage(used_s=0.0), now_unix_s)


def find_day(unix_s: float) -> str:
    """The UTC day of an instant, YYYY-MM-DD."""
    return datetime.fromtimestamp(unix_s, UTC).date().isoformat()


def sum_of_period(spent: Iterable[Spending], caller: str, period: Period, today: str) -> tuple[float, float]:
    """Seconds and money of a caller that count today."""
    own = [row for row in spent if row.caller == caller and _counts(row.day, period, today)]
    return sum(row.seconds for row in own), sum(row.money for row in own)


def _counts(day: str, period: Period, today: str) -> bool:
    match period:
        case "day":
            return day == today
        case "month":
            return day[:7] == today[:7]
        case "ever":
            return True


def _refuse_quota(
    caller: str, quota: TenantQuota, own: list[Spending], seconds: float, money: float, currency: str
) -> None:
    for allowed, present, unit in (
        (quota.qpu_s, sum(row.seconds for row in own) + seconds, f"QPU seconds a {quota.period}"),
        (quota.money, sum(row.money for row in own) + money, f"{currency} a {quota.period}"),
    ):
        if allowed is not None and not present <= allowed * (1.0 + ROUNDING):
            raise OverQuotaError(caller, allowed, present, unit.replace("a ever", "in all"))


def _count(rows: AccountRows, entry: AccountEntry, seconds: float) -> None:
    day = find_day(entry.intended_unix_s)
    for caller, share in entry.account.shares().items():
        amount = Spending(entry.budget, caller, day, share * seconds, share * seconds * entry.price_per_s)
        rows.add_spending(entry.provider, amount)


class MemoryAccounts:
    """AccountRows that end with their process."""

    def __init__(self) -> None:
        self.entries: dict[str, AccountEntry] = {}
        self._spending: dict[tuple[str, str, str, str], Spending] = {}

    def read_spending(self, provider: str) -> list[Spending]:
        """See `AccountRows.read_spending`."""
        return [row for (name, *_), row in self._spending.items() if name == provider]

    def add_spending(self, provider: str, amount: Spending) -> None:
        """See `AccountRows.add_spending`."""
        key = (provider, amount.budget, amount.caller, amount.day)
        before = self._spending.get(key, replace(amount, seconds=0.0, money=0.0))
        self._spending[key] = replace(
            before, seconds=before.seconds + amount.seconds, money=before.money + amount.money
        )

    def read(self, tag: str) -> AccountEntry | None:
        """See `AccountRows.read`."""
        return self.entries.get(tag)

    def write(self, entry: AccountEntry) -> None:
        """See `AccountRows.write`."""
        self.entries[entry.tag] = entry
