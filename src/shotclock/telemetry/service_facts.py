"""What a service exports of itself: build, certificate, budget, ledger and event-loop lag."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from shotclock.domain.accounting import MoneyLeft
from shotclock.domain.memory import BlockingPoint
from shotclock.domain.overview import TenantUsage
from shotclock.telemetry.families import Metrics

LAG_INTERVAL_S = 0.1


def read_nothing() -> None:
    """Where there is nothing to read: the metric is absent."""


def read_no_rows() -> Mapping[str, int]:
    """Without a ledger: the metric is absent."""
    return {}


@dataclass(frozen=True, slots=True)
class ServiceFacts(Collector):
    """Reads at each scrape; what is not known is absent, never zero.

    version: Shotclock's.
    certificate_not_after: when the certificate in use expires, Unix time in seconds.
    budget: of a paid provider.
    ledger_rows: records of paid jobs by state.
    ledger_stopped: whether the ledger can no longer be written, so that no job is paid for.
    blocking_point: the calls that fit into memory.
    tenants: what callers' paid jobs used.
    xmin_age: of the oldest transaction of the ledger's database server, in transactions.
    """

    version: str
    certificate_not_after: Callable[[], float | None] = read_nothing
    budget: Callable[[], MoneyLeft | None] = read_nothing
    ledger_rows: Callable[[], Mapping[str, int]] = read_no_rows
    ledger_stopped: Callable[[], bool | None] = read_nothing
    blocking_point: Callable[[], BlockingPoint | None] = read_nothing
    tenants: Callable[[], tuple[TenantUsage, ...]] = tuple
    xmin_age: Callable[[], int | None] = read_nothing

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client`."""
        build = GaugeMetricFamily(
            "shotclock_build_info", "1, with the versions as labels.", labels=["version", "python"]
        )
        build.add_metric([self.version, platform.python_version()], 1)
        certificate = GaugeMetricFamily(
            "shotclock_certificate_not_after_seconds",
            "When the service's certificate expires, Unix time; absent without TLS.",
        )
        if (not_after := self.certificate_not_after()) is not None:
            certificate.add_metric([], not_after)
        limit = GaugeMetricFamily(
            "shotclock_provider_budget_limit", "The provider's spending cap.", labels=["currency"]
        )
        remaining = GaugeMetricFamily(
            "shotclock_provider_budget_left",
            "What is left of it after known and reserved usage; absent without a paid provider.",
            labels=["currency"],
        )
        if (budget := self.budget()) is not None:
            limit.add_metric([budget.currency], budget.limit)
            remaining.add_metric([budget.currency], budget.remaining)
        rows = GaugeMetricFamily(
            "shotclock_ledger_rows",
            "Records of paid jobs by state; absent without a ledger, or while it cannot be read.",
            labels=["state"],
        )
        for state, count in self.ledger_rows().items():
            rows.add_metric([state], count)
        stopped = GaugeMetricFamily(
            "shotclock_ledger_stopped",
            "1 once the ledger cannot be written, until a restart; absent without a paid provider.",
        )
        if (has_stopped := self.ledger_stopped()) is not None:
            stopped.add_metric([], has_stopped)
        xmin = GaugeMetricFamily(
            "shotclock_ledger_xmin_age",
            "Transactions since the oldest one that the ledger's server keeps rows for; absent with a file.",
        )
        if (age := self.xmin_age()) is not None:
            xmin.add_metric([], age)
        fits = GaugeMetricFamily(
            "shotclock_memory_calls_limit",
            "Calls in progress that fit into memory, and which ends first; absent while none is known.",
            labels=["memory"],
        )
        if (point := self.blocking_point()) is not None:
            fits.add_metric([point.memory], point.calls)
        return (
            build,
            certificate,
            limit,
            remaining,
            rows,
            stopped,
            fits,
            xmin,
            *show_tenants(self.tenants()),
        )


def show_tenants(tenants: tuple[TenantUsage, ...]) -> Iterable[Metric]:
    """Used and allowed, by caller; a caller without a quota has no limit's series."""
    labels, priced = ["client", "period"], ["client", "period", "currency"]
    used = GaugeMetricFamily(
        "shotclock_tenant_qpu_seconds",
        "QPU time of a caller's paid jobs in its period, with all orchestrators of the ledger.",
        labels=labels,
    )
    allowed = GaugeMetricFamily("shotclock_tenant_qpu_seconds_limit", "The caller's quota.", labels=labels)
    money = GaugeMetricFamily(
        "shotclock_tenant_money",
        "The price of a caller's paid jobs in its period.",
        labels=priced,
    )
    most = GaugeMetricFamily("shotclock_tenant_money_limit", "The caller's quota.", labels=priced)
    for tenant in tenants:
        words = [tenant.caller or "unnamed", tenant.period]
        used.add_metric(words, tenant.qpu_s)
        money.add_metric([*words, tenant.currency], tenant.money)
        if tenant.qpu_s_limit is not None:
            allowed.add_metric(words, tenant.qpu_s_limit)
        if tenant.money_limit is not None:
            most.add_metric([*words, tenant.currency], tenant.money_limit)
    return (used, allowed, money, most)


async def watch_lag(metrics: Metrics) -> None:
    """Observes by how much a timer of the event loop is late, until it is cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_INTERVAL_S
        await asyncio.sleep(LAG_INTERVAL_S)
        metrics.loop_lag.observe(max(0.0, loop.time() - due))
