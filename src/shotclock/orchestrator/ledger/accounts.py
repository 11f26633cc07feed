"""Decides inside the intent's transaction whether a job may be paid for, and keeps what was spent.

Reserved amounts count like known ones: an estimate is replaced by what the provider reports.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from shotclock.domain.accounting import (
    AccountEntry,
    CallAccount,
    JobAccount,
    JobUsage,
    MoneyRules,
    Period,
    Spending,
    TenantQuota,
)
from shotclock.domain.ledger import JobRecord, LedgerState
from shotclock.orchestrator.ledger.transitions import LedgerBusyError

SKEW_S = 1.0
"""By how much the clocks of two orchestrators may differ, seconds."""
REPEATS_KEPT_S = 86_400.0
"""No call that waits in another orchestrator's queue is older, seconds."""
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


class RepeatedCallError(LedgerBusyError):
    """Another orchestrator runs the call, or may have paid for it: nothing was recorded.

    request_id: the call's.
    caller: the call's.
    earlier: the job that answers it; None where another orchestrator has taken the call over.
    """

    def __init__(self, call: CallAccount, why: str, earlier: AccountEntry | None = None) -> None:
        super().__init__(f"{why}, so that it is not submitted again")
        self.request_id = call.request_id
        self.caller = call.caller
        self.earlier = earlier


class AccountRows(Protocol):
    """The accounts and the spending of a ledger, inside a transaction."""

    def sum_money(self, provider: str, budget: str) -> float:
        """What was spent of a budget."""

    def sum_usage(self, provider: str, caller: str, since_day: str) -> tuple[float, float]:
        """Seconds and money of a caller from a day on."""

    def add_spending(self, provider: str, amount: Spending) -> None:
        """Adds to the row of its budget, caller and day."""

    def read(self, tag: str) -> AccountEntry | None:
        """The account of a job, if it has one."""

    def read_all(self, since_unix_s: float, until_unix_s: float) -> list[AccountEntry]:
        """Those of the jobs intended from one instant to before the other, the oldest first."""

    def read_repeats(self, calls: Iterable[CallAccount], since_unix_s: float) -> set[tuple[str, str]]:
        """Callers and request ids of those of the calls that were taken over since then."""

    def write_repeat(self, caller: str, request_id: str, at_unix_s: float) -> None:
        """A call that was sent elsewhere before is about to be submitted here."""

    def write(self, entry: AccountEntry) -> None:
        """Writes or replaces a job's account."""


def open_account(rows: AccountRows, record: JobRecord, rules: MoneyRules, now_unix_s: float) -> None:
    """Reserves what the job will cost. Raises OverBudgetError, OverQuotaError; then nothing is reserved.

    Nothing is accounted for a record without an account.
    """
    if record.account is None:
        return
    refuse_repeated(rows, record.account, now_unix_s)
    refuse_spending(rows, record.provider, record.account, rules, find_day(now_unix_s))
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
    for call in record.account.calls:
        if call.origin.repeats:
            rows.write_repeat(call.caller, call.request_id, now_unix_s)


def refuse_repeated(rows: AccountRows, account: JobAccount, now_unix_s: float) -> None:
    """Raises RepeatedCallError where a call of the job is, or may be, paid for already.

    A repeated call looks for an earlier job of it; a call that its caller has repeated elsewhere since it
    arrived here is left to that orchestrator. Request ids are compared over the call's age alone: a later run
    may use them again.
    """
    oldest_s = now_unix_s - max((call.age_s for call in account.calls), default=0.0) - SKEW_S
    repeats = rows.read_repeats((call for call in account.calls if not call.origin.repeats), oldest_s)
    for call in account.calls:
        if call.origin.repeats:
            for entry in rows.read_all(now_unix_s - call.age_s - SKEW_S, math.inf):
                if _answers(entry, call) and entry.used_s != 0.0:
                    raise RepeatedCallError(call, f"the call was submitted before as {entry.tag}", entry)
        elif (call.caller, call.request_id) in repeats:
            raise RepeatedCallError(call, "another orchestrator has taken the call over")


def refuse_spending(
    rows: AccountRows, provider: str, account: JobAccount, rules: MoneyRules, today: str
) -> None:
    """Raises OverBudgetError or OverQuotaError where the job does not fit into what is left."""
    seconds = account.estimate_s or 0.0
    money = seconds * rules.price_per_s
    if rules.most:
        committed = rows.sum_money(provider, rules.budget)
        # `not <=` instead of `>`, so that a NaN is refused too.
        if not committed + money <= rules.most * (1.0 + ROUNDING):
            raise OverBudgetError(
                f"money: this job needs {money:.4g} {rules.currency}, with {committed:.4g} spent and "
                f"reserved of the limit {rules.most:.4g} by all orchestrators of this ledger; "
                f"raise quantum.max_money_per_run to continue"
            )
    for caller, share in account.shares().items():
        quota = rules.quota_of(caller)
        if quota is not None:
            used_s, spent = rows.sum_usage(provider, caller, find_first_day(quota.period, today))
            _refuse_quota(caller, quota, used_s + share * seconds, spent + share * money, rules.currency)


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
        acquisition=usage.acquisition or entry.acquisition,
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


def find_first_day(period: Period, today: str) -> str:
    """The first day of the period that today is in; "" is before all days."""
    match period:
        case "day":
            return today
        case "month":
            return f"{today[:7]}-01"
        case "ever":
            return ""


def sum_of_period(spent: Iterable[Spending], caller: str, period: Period, today: str) -> tuple[float, float]:
    """Seconds and money of a caller that count today."""
    first = find_first_day(period, today)
    rows = [row for row in spent if row.caller == caller and row.day >= first]
    return sum(row.seconds for row in rows), sum(row.money for row in rows)


def _answers(entry: AccountEntry, call: CallAccount) -> bool:
    return any(
        each.request_id == call.request_id and each.caller == call.caller for each in entry.account.calls
    )


def _refuse_quota(caller: str, quota: TenantQuota, seconds: float, money: float, currency: str) -> None:
    for allowed, present, unit in (
        (quota.qpu_s, seconds, f"QPU seconds a {quota.period}"),
        (quota.money, money, f"{currency} a {quota.period}"),
    ):
        if allowed is not None and not present <= allowed * (1.0 + ROUNDING):
            raise OverQuotaError(caller, allowed, present, unit.replace("a ever", "in all"))


def _count(rows: AccountRows, entry: AccountEntry, seconds: float) -> None:
    if seconds == 0.0:
        return
    day = find_day(entry.intended_unix_s)
    for caller, share in entry.account.shares().items():
        amount = Spending(entry.budget, caller, day, share * seconds, share * seconds * entry.price_per_s)
        rows.add_spending(entry.provider, amount)


class MemoryAccounts:
    """AccountRows that end with their process."""

    def __init__(self) -> None:
        self.entries: dict[str, AccountEntry] = {}
        self._repeats: dict[tuple[str, str], float] = {}
        self._spending: dict[tuple[str, str, str, str], Spending] = {}

    def sum_money(self, provider: str, budget: str) -> float:
        """See `AccountRows.sum_money`."""
        return sum(row.money for key, row in self._spending.items() if key[:2] == (provider, budget))

    def sum_usage(self, provider: str, caller: str, since_day: str) -> tuple[float, float]:
        """See `AccountRows.sum_usage`."""
        rows = [
            row
            for (name, _, user, day), row in self._spending.items()
            if (name, user) == (provider, caller) and day >= since_day
        ]
        return sum(row.seconds for row in rows), sum(row.money for row in rows)

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

    def read_all(self, since_unix_s: float, until_unix_s: float) -> list[AccountEntry]:
        """See `AccountRows.read_all`."""
        return [each for each in self.entries.values() if since_unix_s <= each.intended_unix_s < until_unix_s]

    def read_repeats(self, calls: Iterable[CallAccount], since_unix_s: float) -> set[tuple[str, str]]:
        """See `AccountRows.read_repeats`."""
        keys = {(call.caller, call.request_id) for call in calls}
        return {key for key in keys if self._repeats.get(key, -math.inf) >= since_unix_s}

    def write_repeat(self, caller: str, request_id: str, at_unix_s: float) -> None:
        """See `AccountRows.write_repeat`."""
        self._repeats[caller, request_id] = at_unix_s

    def write(self, entry: AccountEntry) -> None:
        """See `AccountRows.write`."""
        self.entries[entry.tag] = entry
