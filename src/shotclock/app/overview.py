"""What a running service shows an operator, put together from its parts."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from shotclock import __version__
from shotclock.app.spending import SpendingWatch
from shotclock.domain.accounting import MoneyLeft
from shotclock.domain.ledger import JobRecord
from shotclock.domain.overview import CertificateDates, Overview, TenantUsage, extend
from shotclock.domain.ports import Budgeted, Provider
from shotclock.domain.status import BreakerState, Status
from shotclock.telemetry.events import EventLog
from shotclock.telemetry.recent import WINDOW_S, RecentWindow
from shotclock.telemetry.web import find_reasons

log = logging.getLogger("shotclock.breaker")


@dataclass(frozen=True, slots=True)
class OverviewSource:
    """Where each part of an overview is read.

    status: the orchestrator's status, with its warnings.
    impediments: why no client can call, in whatever phase.
    certificate: the dates of the one in use.
    provider: runs the jobs.
    spending: what was spent by the ledger; None without a paid provider.
    ledger_rows: records of paid jobs by state.
    ledger_stopped: whether the ledger can no longer be written; None without a paid provider.
    parked: some of the parked jobs.
    recent: the callers' recent calls.
    events: recent events.
    address: where gRPC listens.
    started_unix_s: the start of the service.
    """

    status: Callable[[], Status]
    impediments: Callable[[], tuple[str, ...]]
    certificate: Callable[[], CertificateDates | None]
    provider: Provider
    spending: SpendingWatch | None
    ledger_rows: Callable[[], Mapping[str, int]]
    ledger_stopped: Callable[[], bool | None]
    parked: Callable[[], tuple[JobRecord, ...]]
    recent: RecentWindow
    events: EventLog
    address: Callable[[], str]
    started_unix_s: float = field(default_factory=time.time)

    def read(self) -> Overview:
        """The service as it is now; on its event loop."""
        status, recent = self.status(), self.recent.summarise()
        return extend(
            status,
            reasons=find_reasons(status.phase, self.impediments()),
            address=self.address(),
            version=__version__,
            python=platform.python_version(),
            now_unix_s=time.time(),
            started_unix_s=self.started_unix_s,
            window_s=float(WINDOW_S),
            everybody=recent.everybody,
            callers=recent.callers,
            intervals=recent.intervals,
            last_fault=self.recent.last_fault,
            paid=self.provider.limits.paid,
            budget=self.read_money_left(),
            tenants=self.read_tenants(),
            ledger_rows=self.ledger_rows(),
            ledger_stopped=self.ledger_stopped(),
            parked=self.parked(),
            certificate=self.certificate(),
            events=self.events.recent(),
        )

    def read_reasons(self) -> tuple[str, ...]:
        """Why the service is not ready; none if it is."""
        return find_reasons(self.status().phase, self.impediments())

    def read_money_left(self) -> MoneyLeft | None:
        """What may still be spent; None where that is unknown or nothing is paid for.

        The smaller of what the ledger says of all orchestrators, and what this one's provider knows, sessions
        included.
        """
        shared = self.spending.money_left() if self.spending is not None else None
        own = self.provider.money_left() if isinstance(self.provider, Budgeted) else None
        known = [money for money in (shared, own) if money is not None]
        return min(known, key=lambda money: money.remaining, default=None)

    def read_tenants(self) -> tuple[TenantUsage, ...]:
        """What callers used, with all orchestrators of the ledger."""
        return self.spending.tenants() if self.spending is not None else ()

    def read_not_after(self) -> float | None:
        """When the certificate in use expires, Unix time in seconds; None without TLS."""
        dates = self.certificate()
        return dates.not_after_unix_s if dates is not None else None


def log_breaker(state: BreakerState) -> None:
    """One record for each change of the breaker."""
    match state:
        case BreakerState.OPEN:
            log.warning("breaker opened: no job is submitted until a status call to the provider succeeds")
        case BreakerState.CLOSED:
            log.info("breaker closed: a status call to the provider succeeded")
