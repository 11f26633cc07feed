"""What a service shows an operator: its status, its callers' recent calls, and what it depends on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from shotclock.domain.accounting import MoneyLeft
from shotclock.domain.ledger import JobRecord
from shotclock.domain.status import Status


@dataclass(frozen=True, slots=True)
class RecentCalls:
    """One caller's calls in the last `Overview.window_s`, or everybody's.

    caller: the name in its certificate; "" for everybody.
    calls: calls that ended, those included that the client gave up.
    in_time_samples: of these, answered by the deadline with new samples of a QPU.
    in_time_classical: of these, answered by the deadline without.
    late_at_client: calls without an answer at the client by their deadline, as it reported with a later call.
    refused: calls refused before submission, by limit.
    timed: the newest of the calls, of which the percentiles are.
    p50_s, p95_s, p99_s: of their durations, seconds; None with too few of them.
    """

    caller: str
    calls: int = 0
    in_time_samples: int = 0
    in_time_classical: int = 0
    late_at_client: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    timed: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None

    @property
    def misses(self) -> int:
        """Calls without an answer by their deadline."""
        return self.calls - self.in_time_samples - self.in_time_classical


@dataclass(frozen=True, slots=True)
class Interval:
    """All calls that ended in one interval of the window.

    begins_unix_s: its begin, Unix time in seconds.
    samples: answered by the deadline with new samples of a QPU.
    classical: answered by the deadline without.
    missed: the others.
    """

    begins_unix_s: float
    samples: int = 0
    classical: int = 0
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """Something an operator may have to know, with its latest time.

    at_unix_s: Unix time in seconds.
    level: info, warning or error.
    source: what reports it.
    text: one line.
    count: how often it was reported.
    """

    at_unix_s: float
    level: str
    source: str
    text: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class CertificateDates:
    """From when to when the certificate in use is valid, Unix time in seconds."""

    not_before_unix_s: float
    not_after_unix_s: float


@dataclass(frozen=True, slots=True)
class ProviderFaultSeen:
    """The last fault of the provider that ended a call, at a Unix time in seconds."""

    at_unix_s: float
    message: str


@dataclass(frozen=True, slots=True)
class TenantUsage:
    """What a caller's paid jobs used in a period, with all orchestrators of the ledger.

    caller: the name in its certificate, "" without one.
    period: day, month or ever.
    qpu_s: QPU time, estimates of open jobs included, seconds.
    money: its price.
    currency: of the price.
    qpu_s_limit: None without one.
    money_limit: None without one.
    """

    caller: str
    period: str
    qpu_s: float
    money: float
    currency: str
    qpu_s_limit: float | None = None
    money_limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview(Status):
    """A status with its surroundings; what is not known is None, never zero.

    reasons: why the service is not ready; none if it is.
    address: where gRPC listens.
    version: Shotclock's.
    python: Python's.
    now_unix_s: the time of this look, Unix time in seconds.
    started_unix_s: the start of the service, Unix time in seconds.
    window_s: how far back `everybody`, `callers` and `intervals` go, seconds.
    everybody: all calls.
    callers: each caller's; most missed calls first.
    intervals: all calls by interval, oldest first.
    last_fault: of the provider.
    paid: whether the provider's jobs cost money.
    budget: what may still be spent on it.
    tenants: what callers' paid jobs used; none without a ledger or while it cannot be read.
    ledger_rows: records of paid jobs by state; empty without a ledger or while it cannot be read.
    ledger_stopped: whether the ledger can no longer be written, so that no job is paid for.
    parked: the longest-parked jobs.
    certificate: None without TLS.
    events: recent ones, newest first.
    """

    reasons: tuple[str, ...] = ()
    address: str
    version: str
    python: str
    now_unix_s: float
    started_unix_s: float
    window_s: float
    everybody: RecentCalls
    callers: tuple[RecentCalls, ...] = ()
    intervals: tuple[Interval, ...] = ()
    last_fault: ProviderFaultSeen | None = None
    paid: bool = False
    budget: MoneyLeft | None = None
    tenants: tuple[TenantUsage, ...] = ()
    ledger_rows: Mapping[str, int] = field(default_factory=dict)
    ledger_stopped: bool | None = None
    parked: tuple[JobRecord, ...] = ()
    certificate: CertificateDates | None = None
    events: tuple[Event, ...] = ()


def to_json(overview: Overview) -> str:
    """The document of the status, the same over HTTP and gRPC."""
    return json.dumps(asdict(overview), allow_nan=False)


def extend(status: Status, **surroundings: Any) -> Overview:
    """The status as an overview with these other fields."""
    return Overview(**{each.name: getattr(status, each.name) for each in fields(status)}, **surroundings)
