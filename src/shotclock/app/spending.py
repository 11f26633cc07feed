"""What may be spent, by the settings, and what was: read from the ledger for the status and the metrics."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator

from shotclock.domain.accounting import MoneyLeft, MoneyRules, Spending
from shotclock.domain.errors import ShotclockError
from shotclock.domain.overview import TenantUsage
from shotclock.orchestrator.ledger.accounts import find_day, sum_of_period
from shotclock.orchestrator.ledger.places import LedgerPlace, is_shared
from shotclock.settings import Settings
from shotclock.settings.quantum import QuantumSettings
from shotclock.settings.tenants import OTHERS

READ_EVERY_S = 2.0
SHARED_BUDGET = "shared"
"""The budget's name where orchestrators share a ledger and the settings name none."""


def read_rules(settings: Settings, quantum: QuantumSettings, run_budget: str | None = None) -> MoneyRules:
    """What the settings allow.

    run_budget: the budget's name in a benchmark run, "" for a new one; None of a service, whose budget begins
    again with each start where it is alone with its ledger and `serve.budget` names none.
    """
    serve, cost = settings.serve, settings.cost
    named = run_budget
    if named is None:
        named = serve.budget or (SHARED_BUDGET if is_shared(serve.ledger_file) else "")
    quotas = {name: tenant.quota for name, tenant in settings.tenants.items()}
    return MoneyRules(
        budget=named or f"process-{os.urandom(8).hex()}",
        most=quantum.max_money_per_run,
        price_per_s=cost.qpu_second,
        currency=cost.currency,
        resource=quantum.backend,
        quotas=quotas,
        default=quotas.get(OTHERS),
    )


class SpendingWatch:
    """Reads what was spent with a provider, again and again. rules: what may be."""

    def __init__(self, place: LedgerPlace, provider: str, rules: MoneyRules) -> None:
        self._place = place
        self._provider = provider
        self._rules = rules
        self._spent: tuple[Spending, ...] | None = None

    async def run(self) -> None:
        """Keeps the figures current until it is cancelled; they are unknown while nothing can be read."""
        while True:
            try:
                self._spent = tuple(await asyncio.to_thread(self._place.read_spending, self._provider))
            except ShotclockError:
                self._spent = None
            await asyncio.sleep(READ_EVERY_S)

    def money_left(self) -> MoneyLeft | None:
        """What all orchestrators of the ledger may still spend; None without a limit, or while unknown."""
        rules = self._rules
        if self._spent is None or not rules.most:
            return None
        spent = sum(row.money for row in self._spent if row.budget == rules.budget)
        return MoneyLeft(rules.most, rules.most - spent, rules.currency)

    def tenants(self) -> tuple[TenantUsage, ...]:
        """Every caller that has a quota or has used something, by name; none while unknown."""
        return tuple(self._list_tenants()) if self._spent is not None else ()

    def _list_tenants(self) -> Iterator[TenantUsage]:
        spent, today, quotas = self._spent or (), find_day(time.time()), self._rules.quotas or {}
        names = {row.caller for row in spent} | {name for name in quotas if name != OTHERS}
        for name in sorted(names):
            quota = self._rules.quota_of(name)
            period = quota.period if quota is not None else "month"
            seconds, money = sum_of_period(spent, name, period, today)
            yield TenantUsage(
                name,
                period,
                seconds,
                money,
                self._rules.currency,
                quota.qpu_s if quota is not None else None,
                quota.money if quota is not None else None,
            )
